"""``lathe pack``: text and a tokenizer in, rows of tokens out, which are those of pretraining."""

from pathlib import Path

import pytest

from lathe import corpus
from lathe.core import rows, shards
from lathe.core.documents import read_texts, splits_of
from lathe.core.errors import DataError
from lathe.core.recipe import parse
from lathe.core.tokens import TokenFile
from lathe.tokenizer.pack import Recipe, run

TEXTS = [f"the film {n} is good and the plot of part {n % 7} is not bad, 影片很好" for n in range(200)]


@pytest.fixture
def values(tmp_path: Path, tokenizer) -> dict[str, object]:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return {"text": str(tmp_path / "texts.txt"), "tokenizer": str(tmp_path / "tokenizer"), "max_length": 16}


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_file_becomes_the_rows_that_its_texts_make(tmp_path: Path, values, tokenizer):
    made = run(parse(Recipe, values), tmp_path / "out")
    expected = TokenFile.write(tmp_path / "expected", TEXTS, tokenizer, 16)
    assert content(made.path / "train") == content(expected.path)
    scores = made.manifest.scores["train"]
    assert (scores["documents"], scores["rows"], scores["tokens"]) == (200, len(expected), len(expected.ids))
    assert scores["sha256"] == expected.header.sha256
    assert made.manifest.kind == "tokens"
    made.verify()
    assert run(parse(Recipe, values), tmp_path / "out").reused


def test_every_split_of_a_corpus_is_packed(tmp_path: Path, values):
    source = {"kind": "files", "paths": [values["text"]]}
    split = {"validation": 0.2, "test": 0.2}
    text = corpus.run(parse(corpus.Recipe, {"source": source, "steps": ["normalise"], "split": split}), tmp_path / "c")
    made = run(parse(Recipe, values | {"text": str(text.path)}), tmp_path / "out")
    assert splits_of(text.path) == ("train", "validation", "test") == tuple(made.manifest.scores)
    for name in splits_of(text.path):
        assert TokenFile.open(made.path / name).header.documents == len(list(read_texts(text.path, name)))


def test_packing_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, values, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_TOKENS", 200)
    monkeypatch.setattr(rows, "CHARACTERS_AT_ONCE", 400)
    expected = run(parse(Recipe, values), tmp_path / "expected")

    def stopping(*_: object):
        yield from TEXTS[:120]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lathe.tokenizer.pack.read_texts", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(parse(Recipe, values), tmp_path / "out")
    assert list((tmp_path / "out.work").rglob("shards.jsonl"))
    assert content(run(parse(Recipe, values), tmp_path / "out").path / "train") == content(expected.path / "train")


def test_a_disk_without_links_gets_copies(tmp_path: Path, values, monkeypatch):
    def refuses(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", refuses)
    assert len(TokenFile.open(run(parse(Recipe, values), tmp_path / "out").path / "train"))


def test_a_text_without_tokens_is_refused_and_leaves_nothing(tmp_path: Path, values):
    (tmp_path / "texts.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"texts\.txt: its train text holds no token"):
        run(parse(Recipe, values), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()
