"""Shards of token files: a writer that was stopped goes on to the same bytes, and damage has a place."""

import random
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from lathe.core import rows, shards
from lathe.core.errors import DataError
from lathe.core.rows import Layout
from lathe.core.shards import Amount
from lathe.core.tokens import TokenFile

DRAW = random.Random(0)
TEXTS = [" ".join(DRAW.choices(["good", "bad", "film", "the", "好"], k=DRAW.randint(0, 12))) for _ in range(60)]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 40)
    monkeypatch.setattr(rows, "CHARACTERS_AT_ONCE", 30)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def failing(texts: list[str], count: int) -> Iterator[str]:
    yield from texts[:count]
    raise KeyboardInterrupt


def stopped(folder: Path, tokenizer, count: int, max_length: int = 8, texts=TEXTS) -> None:
    with pytest.raises(KeyboardInterrupt):
        TokenFile.write(folder, failing(texts, count), tokenizer, max_length)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are tokenised from now on."""
    found: list[str] = []
    original = rows._chunks

    def noted(texts):
        for chunk in original(texts):
            found.extend(chunk)
            yield chunk

    monkeypatch.setattr(rows, "_chunks", noted)
    return found


@pytest.mark.parametrize("layout", [Layout(), Layout("each")])
def test_a_file_of_many_shards_has_the_rows_of_one(tokenizer, tmp_path, monkeypatch, layout):
    many = TokenFile.write(tmp_path / "many", TEXTS, tokenizer, 8, layout)
    monkeypatch.setattr(shards, "SHARD_TOKENS", 10**9)
    one = TokenFile.write(tmp_path / "one", TEXTS, tokenizer, 8, layout)
    assert len(many.header.shards) > 5 > len(one.header.shards) == 1
    assert (many.ids == one.ids).all() and (many.lengths == one.lengths).all()
    assert (many.document_rows == one.document_rows).all()
    total = reduce(Amount.plus, (shard.amount for shard in many.header.shards))
    assert many.header.amount == one.header.amount == total


def test_documents_know_their_rows(tokenizer, tmp_path):
    tokens = TokenFile.write(tmp_path / "tokens", TEXTS, tokenizer, 8)
    ends = np.cumsum(tokens.document_rows)
    for text, count, end in zip(TEXTS, tokens.document_rows, ends, strict=True):
        held = [i for row in range(end - count, end) for i in tokens[row]["input_ids"][1:-1].tolist()]
        assert held == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_stopped_again_and_again_ends_in_the_same_bytes(tokenizer, tmp_path, seed):
    expected = content(TokenFile.write(tmp_path / "expected", TEXTS, tokenizer, 8).path)
    draw, at = random.Random(seed), 0
    while (at := at + draw.randint(1, 25)) < len(TEXTS):
        stopped(tmp_path / "out", tokenizer, at)
    assert content(TokenFile.write(tmp_path / "out", TEXTS, tokenizer, 8).path) == expected


def test_shards_that_are_done_are_not_tokenised_again(tokenizer, tmp_path, encoded):
    stopped(tmp_path / "out", tokenizer, 40)
    encoded.clear()
    made = TokenFile.write(tmp_path / "out", TEXTS, tokenizer, 8)
    done = len(TEXTS) - len(encoded)
    assert 25 < done <= 40
    assert done in np.cumsum([shard.amount.documents for shard in made.header.shards])


@pytest.mark.parametrize("change", ["a text", "the length", "the tokenizer", "bytes", "the journal"])
def test_what_was_made_of_something_else_or_is_damaged_is_made_again(tokenizer, tmp_path, encoded, change):
    stopped(tmp_path / "out", tokenizer, 50)
    texts, max_length = list(TEXTS), 8
    part = tmp_path / ".out.part"
    match change:
        case "a text":
            texts[20] = "another"
        case "the length":
            max_length = 7
        case "the tokenizer":
            tokenizer.add_tokens(["new"])
        case "bytes":
            ids = bytearray((part / "ids.bin").read_bytes())
            ids[200] ^= 1
            (part / "ids.bin").write_bytes(ids)
        case "the journal":
            journal = (part / "shards.jsonl").read_text("utf-8")
            (part / "shards.jsonl").write_text(journal[: len(journal) // 2], "utf-8")
    encoded.clear()
    made = content(TokenFile.write(tmp_path / "out", texts, tokenizer, max_length).path)
    again = len(encoded)
    assert made == content(TokenFile.write(tmp_path / "expected", texts, tokenizer, max_length).path)
    assert (again == len(TEXTS)) == (change in ("the length", "the tokenizer"))


@pytest.mark.parametrize("name", ["ids.bin", "lengths.bin", "documents.bin"])
def test_the_shard_that_is_damaged_is_named(tokenizer, tmp_path, name):
    made = TokenFile.write(tmp_path / "tokens", TEXTS, tokenizer, 8)
    files = shards.Files(made.path, made.header.dtype, is_marked=False)
    sizes = [files.sizes(shard.amount)[name] for shard in made.header.shards]
    place = sum(size // (1 + (number == 2)) for number, size in enumerate(sizes[:3]))
    raw = bytearray((made.path / name).read_bytes())
    raw[place] ^= 1
    (made.path / name).write_bytes(raw)
    first = sum(shard.amount.rows for shard in made.header.shards[:2])
    with pytest.raises(DataError, match=rf"shard 3 of {len(made.header.shards)} \(from row {first} on\) is damaged"):
        TokenFile.open(made.path)
