"""Decontamination: what of evaluation files is in a corpus is found, listed and dropped."""

import gzip
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import parse
from lathe.core.scripts import words
from lathe.core.types import Document
from lathe.corpus import Recipe, run
from lathe.corpus.duplicates import DropContaminated, index
from lathe.corpus.protocol import Dropped

ALPHABET = [f"word{i}" for i in range(3000)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("lathe.corpus.made_once.cache_folder", lambda: folder)
    return folder


def text(seed: int, length: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(ALPHABET) for _ in range(length))


def write_rows(file: Path, rows: list[Any]) -> Path:
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return file


def verdict(step: DropContaminated, document: str):
    return step(Document(document, "0"))


def test_a_question_in_a_document_is_found_with_its_line_and_words(tmp_path: Path):
    rows = [{"question": text(n, 30), "choices": [text(100 + n, 2)], "label": 0} for n in range(20)]
    step = DropContaminated(against=(write_rows(tmp_path / "test.jsonl", rows),))
    question = rows[7]["question"].upper().replace(" ", ",  ")
    found = verdict(step, f"{text(500, 50)}. {question}! {text(501, 50)}")
    assert isinstance(found, Dropped)
    assert found.reason == f"overlaps {tmp_path / 'test.jsonl'}"
    assert found.twin == f"{tmp_path / 'test.jsonl'}:8"
    assert found.overlap == question
    assert verdict(step, text(502, 200)) == Document(text(502, 200), "0")


@pytest.mark.parametrize(("shared", "is_dropped"), [(12, False), (13, True)])
def test_thirteen_words_one_after_another_decide(tmp_path: Path, shared: int, is_dropped: bool):
    row = text(1, 40)
    step = DropContaminated(against=(write_rows(tmp_path / "test.jsonl", [{"text": row}]),))
    part = " ".join(row.split()[5 : 5 + shared])
    assert isinstance(verdict(step, f"{text(2, 30)} {part} {text(3, 30)}"), Dropped) == is_dropped


def test_a_short_row_is_looked_for_as_a_whole_and_a_very_short_one_not_at_all(tmp_path: Path):
    rows = [{"text": text(1, 9)}, {"text": text(2, 7)}]
    step = DropContaminated(against=(write_rows(tmp_path / "test.jsonl", rows),))
    found = verdict(step, f"before {rows[0]['text']} after")
    assert isinstance(found, Dropped)
    assert found.overlap == rows[0]["text"]
    assert isinstance(verdict(step, rows[0]["text"]), Dropped)
    assert verdict(step, f"before {text(1, 9).rsplit(' ', 1)[0]} after").text.startswith("before")
    assert verdict(step, rows[1]["text"]).text == rows[1]["text"]


def test_chinese_is_compared_by_characters_and_nested_messages_are_read(tmp_path: Path):
    said = "人工智能是研究开发用于模拟延伸和扩展人的智能的理论"
    rows = [{"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": said}]}]
    file = tmp_path / "test.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        stream.write(json.dumps(rows[0], ensure_ascii=False))
    found = verdict(DropContaminated(against=(file,)), f"据说，{said[:14]}，等等。")
    assert isinstance(found, Dropped)
    assert found.overlap == said[:14]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=9), min_size=1, max_size=5),
       st.lists(st.sampled_from("abcd"), max_size=14), st.integers(2, 6), st.integers(1, 6))  # fmt: skip
def test_hits_are_those_of_the_definition(tmp_path_factory, rows, document, size: int, shortest: int):
    shortest, texts = min(size, shortest), [" ".join(row) for row in rows]
    wanted = {tuple(row[i : i + size]) for row in rows for i in range(len(row) - size + 1)}
    wanted |= {tuple(row) for row in rows if shortest <= len(row) < size}
    if not wanted:
        return
    file = write_rows(tmp_path_factory.mktemp("rows") / "test.jsonl", [{"text": text or "-"} for text in texts])
    found = verdict(DropContaminated(against=(file,), words=size, min_words=shortest), " ".join(document))
    has = any(
        tuple(document[i : i + length]) in wanted
        for length in range(1, size + 1)
        for i in range(len(document) - length + 1)
    )
    assert isinstance(found, Dropped) == has
    if isinstance(found, Dropped):
        _, line = found.twin.rsplit(":", 1)
        assert " ".join(words(found.overlap)) in texts[int(line) - 1]
        assert found.overlap in " ".join(document)


def test_how_tests_are_worded_is_no_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    asked, begins, told = (
        "下列说法正确的是哪一项",
        "read the text and answer the question in a few words of your own choice",
        text(1, 90),
    )
    rows = [{"question": asked, "prompt": f"{begins}: {text(100 + n, 20)}", "context": told} for n in range(12)]
    step = DropContaminated(against=(write_rows(tmp_path / "test.jsonl", rows),))
    for document in (f"请看，{asked}？", f"please {begins}, thank you"):
        assert verdict(step, document).text == document
    assert "4 runs of words are in more than 10 rows" in capsys.readouterr().err
    for document in (told, f"{begins}: {text(105, 20)}"):  # a text that belongs to many questions is one
        assert isinstance(verdict(step, document), Dropped)
    often = DropContaminated(against=step.against, max_rows=12)
    assert isinstance(verdict(often, f"请看，{asked}？"), Dropped)


def test_all_hits_of_a_corpus_are_listed_and_counted_by_file(tmp_path: Path):
    rows = [{"text": text(n, 20)} for n in range(12)]
    files = [write_rows(tmp_path / "a.jsonl", rows[:9]), write_rows(tmp_path / "b.jsonl", rows[9:])]
    (tmp_path / "text.txt").write_text(
        "\n".join([*(f"so {row['text']} it is" for row in rows), text(99, 40)]), encoding="utf-8"
    )
    step = {"kind": "drop_contaminated", "against": list(map(str, files))}
    source = {"kind": "files", "paths": [str(tmp_path / "text.txt")]}
    made = run(parse(Recipe, {"source": source, "steps": [step]}), tmp_path / "corpus")
    assert made.manifest.scores["dropped"] == {f"overlaps {files[0]}": 9, f"overlaps {files[1]}": 3}
    listed = [json.loads(line) for line in (made.path / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert {hit["overlap"] for hit in listed} == {row["text"] for row in rows}
    assert {hit["twin"] for hit in listed} >= {f"{files[0]}:9", f"{files[1]}:3"}
    assert set(map(str, files)) <= set(made.manifest.inputs)


def test_an_index_is_made_once_and_again_when_a_file_changes(tmp_path: Path, cache: Path):
    file = write_rows(tmp_path / "test.jsonl", [{"text": text(1, 20)}])
    assert isinstance(verdict(DropContaminated(against=(file,)), text(1, 20)), Dropped)
    assert len(list(cache.iterdir())) == 1
    write_rows(file, [{"text": text(2, 20)}])
    assert verdict(DropContaminated(against=(file,)), text(1, 20)).text == text(1, 20)
    assert len(list(cache.iterdir())) == 2


def test_an_evaluation_file_with_nothing_to_look_for_is_refused(tmp_path: Path):
    file = write_rows(tmp_path / "labels.jsonl", [{"text": "yes"}])
    with pytest.raises(DataError, match=r"labels\.jsonl: no text has 8 words or more"):
        verdict(DropContaminated(against=(file,)), "x")
    (tmp_path / "text.txt").write_text("some words", encoding="utf-8")
    values = {"source": {"kind": "files", "paths": [str(tmp_path / "text.txt")]}}
    with pytest.raises(DataError, match="nothing to look for"):
        run(parse(Recipe, values | {"steps": [{"kind": "drop_contaminated", "against": [str(file)]}]}), tmp_path / "c")
    assert not (tmp_path / "c.work").exists()
    with pytest.raises(RecipeError, match="min_words 9 is more than words 5"):
        DropContaminated(against=(file,), words=5, min_words=9)


def test_an_index_is_the_same_bytes_however_little_memory_there_is(tmp_path: Path):
    often = text(1, 40)
    rows = [{"question": f"{text(n, 30)} {often}", "choices": [text(n % 7, 9), text(n, 10)]} for n in range(60)]
    files = (write_rows(tmp_path / "a.jsonl", rows), write_rows(tmp_path / "b.jsonl", rows[20:40]))
    made = [tmp_path / f"{memory}" for memory in (2**28, 20_000, 2_000)]
    for folder in made:
        folder.mkdir()
        index._make(files, index.Sizes(13, 8, 10), int(folder.name), folder)
    found = [{file.name: file.read_bytes() for file in sorted(folder.iterdir())} for folder in made]
    assert {"13-values", "13-rows", "13-slots", "9-values", "10-values"} <= set(found[0])
    assert found[0] == found[1] == found[2]


def test_ten_times_the_evaluation_data_take_no_more_memory(tmp_path: Path):
    words, peaks = [f"word{i}" for i in range(50_000)], []
    for count in (300, 3000):
        draw, folder = random.Random(count), tmp_path / f"{count}"
        folder.mkdir()
        file = write_rows(
            tmp_path / f"{count}.jsonl", [{"text": " ".join(draw.choices(words, k=150))} for _ in range(count)]
        )
        tracemalloc.start()
        index._make((file,), index.Sizes(13, 8, 10), 2**20, folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    grams = 3000 * 138 * 5 * 8
    assert peaks[1] - peaks[0] < grams / 4, peaks


def test_rows_that_change_while_they_are_read_are_noticed(tmp_path: Path):
    file = write_rows(tmp_path / "test.jsonl", [{"text": text(n, 20)} for n in range(3)])
    known = index._known(file, tmp_path / "room", 2**20)
    write_rows(file, [{"text": text(n, 20)} for n in range(2)])
    with pytest.raises(DataError, match="changed while it was read"):
        list(known.texts())


def test_a_corpus_that_is_all_evaluation_data_is_refused_with_the_rule_and_the_file(tmp_path: Path, capsys):
    file = write_rows(tmp_path / "test.jsonl", [{"text": text(n, 20)} for n in range(3)])
    step = {"kind": "drop_contaminated", "against": [str(file)]}
    source = {"kind": "files", "paths": [str(file)]}
    with pytest.raises(DataError, match=r"3 overlaps .*test\.jsonl.* drop_contaminated dropped 3 of them"):
        run(parse(Recipe, {"source": source, "steps": [step]}), tmp_path / "all")
    (tmp_path / "text.txt").write_text(f"{text(0, 20)}\n{text(9, 20)}", encoding="utf-8")
    source = {"kind": "files", "paths": [str(tmp_path / "text.txt")]}
    run(parse(Recipe, {"source": source, "steps": [step]}), tmp_path / "some")
    assert f"1 kept + 1 dropped (1 overlaps {file})" in capsys.readouterr().err


def test_an_evaluation_file_of_which_no_row_can_be_read_is_refused_with_the_reason(tmp_path: Path):
    rows = [json.dumps({"text": "今天天气很好我们去看电影" * 3}, ensure_ascii=False)] * 3
    (tmp_path / "cmrc.jsonl").write_bytes("\n".join(rows).encode("gbk"))
    with pytest.raises(DataError, match=r"cmrc\.jsonl: none of its 3 rows can be read, .* the first: .*:1: not UTF-8"):
        DropContaminated(against=(tmp_path / "cmrc.jsonl",)).prepare(2**26)
