"""``lathe corpus`` as a whole: files or documentation in, a bundle out."""

import gzip
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from lathe.core.data import Bad
from lathe.core.documents import read_documents, read_rows_as_documents, splits_of
from lathe.core.errors import BundleError, DataError, RecipeError
from lathe.core.recipe import parse
from lathe.core.types import Document
from lathe.corpus import Recipe, run
from lathe.corpus.duplicates.near import near_duplicates
from lathe.corpus.files import Files
from lathe.corpus.protocol import Noted
from lathe.corpus.split import Proportions

ENGLISH = [f"Sentence {n} has the words alpha{n} beta{n} gamma{n} delta{n} in it." for n in range(40)]
CHINESE = [f"第{n}句话" + "".join(chr(0x4E00 + 50 * n + i) for i in range(20)) for n in range(40)]


def corpus(out: Path, **values: object):
    return run(parse(Recipe, values), out)


def documents(items) -> list[Document]:
    return [item for item in items if isinstance(item, Document)]


def rows(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_read_is_kept_plus_dropped_and_what_was_kept_is_in_the_splits(tmp_path: Path):
    texts = [*ENGLISH, *CHINESE, ENGLISH[0], CHINESE[0] + "。", "short", "\ufeff\ufeff"]
    file = rows(tmp_path / "a.jsonl", *({"text": text} for text in texts), {"other": "x"})
    made = corpus(
        tmp_path / "c", source={"kind": "files", "paths": [str(file)]}, split={"validation": 0.2, "test": 0.2}
    )
    scores = made.manifest.scores
    assert scores["dropped"] == {"empty": 1, "exact duplicate": 1, "near duplicate": 1, "too short": 1}
    assert (scores["read"], scores["kept"], scores["quarantined"]) == (85, 80, 1)
    kept = [document.text for split in splits_of(made.path) for document in read_documents(made.path, split)]
    assert sorted(kept) == sorted(ENGLISH + CHINESE)
    assert sum(size["documents"] for size in scores["splits"].values()) == 80
    assert set(scores["scripts"]) == {"Latin", "Han"}
    reasons = [json.loads(line)["reason"] for line in (made.path / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert set(reasons) == set(scores["dropped"])
    assert (made.path / "quarantine.jsonl").read_text("utf-8").count("\n") == 1


def test_a_group_is_on_one_side_of_the_split(tmp_path: Path):
    table = [{"text": text, "author": f"a{i % 7}"} for i, text in enumerate(ENGLISH)]
    source = {"kind": "files", "paths": [str(rows(tmp_path / "a.jsonl", *table))], "group": "author"}
    path = corpus(tmp_path / "c", source=source, split={"validation": 0.3, "test": 0.3}).path
    sides = {split: {d.meta["author"] for d in read_documents(path, split)} for split in splits_of(path)}
    assert len(sides) > 1
    assert sum(map(len, sides.values())) == 7


def test_the_split_of_a_document_does_not_depend_on_the_others():
    few, seeds = Proportions(validation=0.3, test=0.3), range(300)
    places = [few.of(str(seed)) for seed in seeds]
    assert places == [few.of(str(seed)) for seed in seeds]
    assert 60 < places.count("validation") < 120 and 60 < places.count("test") < 120


def test_proportions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(RecipeError, match="leave nothing to train on"):
        parse(Recipe, {"source": {"kind": "documentation"}, "split": {"validation": 0.6, "test": 0.4}})


@pytest.mark.parametrize(("unit", "expected"), [("line", 4), ("paragraph", 2), ("file", 1)])
def test_a_plain_text_file_is_cut_into_units(tmp_path: Path, unit: str, expected: int):
    file = tmp_path / "a.txt"
    file.write_text("one two three four\nfive six seven eight\n\nnine ten eleven twelve\n一二三四五\n", "utf-8")
    made = corpus(tmp_path / "c", source={"kind": "files", "paths": [str(file)], "unit": unit})
    assert made.manifest.scores["read"] == expected


def test_a_corpus_of_nothing_is_an_error_that_says_why(tmp_path: Path):
    source = {"kind": "files", "paths": [str(rows(tmp_path / "a.jsonl", {"text": "x"}, {"text": "y"}))]}
    with pytest.raises(
        DataError, match="2 documents read = 0 kept \\+ 2 dropped \\(2 too short\\) .* drop_short dropped 2 of them"
    ):
        corpus(tmp_path / "c", source=source)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["none/*.jsonl"], r"none/\*\.jsonl: this pattern matches no file \(source\.paths\)"),
        (["empty"], r"empty: there is no file in this folder \(source\.paths\)"),
        (["blan.txt"], r"blan\.txt: no such file or folder \(source\.paths\); did you mean 'blank\.txt'"),
        (["blank.txt"], "the source holds no documents"),
        (
            ["bad.jsonl"],
            "= 0 kept \\+ 0 dropped \\+ 2 quarantined; nothing could be read, the first: bad\\.jsonl:1: ",
        ),
    ],
)
def test_a_source_without_documents_is_an_error_that_says_why(tmp_path: Path, monkeypatch, paths, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").write_text("x", "utf-8")
    rows(tmp_path / "a.jsonl", {"text": ENGLISH[0]})
    (tmp_path / "blank.txt").write_text("\n \n", "utf-8")
    (tmp_path / "bad.jsonl").write_text("{\n[", "utf-8")
    with pytest.raises(DataError, match=said):
        corpus(tmp_path / "c", source={"kind": "files", "paths": paths})
    assert not (tmp_path / "c.work").exists()


@pytest.mark.parametrize("out", ["texts", "texts/c", "texts/deeper/c", "TEXTS/../texts/c"])
@pytest.mark.parametrize("paths", [["texts"], ["texts/../texts"], ["other", "te*"]])
def test_a_run_that_would_read_itself_is_refused_before_it_writes(tmp_path: Path, monkeypatch, out: str, paths):
    monkeypatch.chdir(tmp_path)
    for folder in ("texts", "other", "TEXTS"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.txt").write_text(ENGLISH[0], "utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"source\.paths takes it in \(.*te.*\), so the run would read itself"):
        corpus(Path(out), source={"kind": "files", "paths": paths})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pattern_that_matches_the_work_folder_is_refused(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.txt").write_text(ENGLISH[0], "utf-8")
    with pytest.raises(DataError, match=r"c\.work: source\.paths takes it in"):
        corpus(tmp_path / "c", source={"kind": "files", "paths": [str(tmp_path / "*")]})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    source = {"kind": "files", "paths": [str(tmp_path / "a")]}
    assert corpus(tmp_path / "a-c", source=source).manifest.scores["kept"] == 1


@pytest.mark.parametrize("size", [10, 10**6])
@pytest.mark.parametrize("declared", ["detect", "text"])
def test_what_is_packed_too_deep_is_quarantined_and_costs_no_other_file(tmp_path: Path, monkeypatch, size, declared):
    monkeypatch.setattr("lathe.corpus.files.UNIT_BYTES", size)
    packed = "\n".join(ENGLISH).encode()
    for depth in range(1, 7):
        packed = gzip.compress(packed, mtime=0)
        (tmp_path / f"{depth}.gz").write_bytes(packed)
    with tarfile.open(tmp_path / "7.tar", "w") as archive:
        archive.add(tmp_path / "4.gz", "inner.gz")
    source = {"kind": "files", "paths": [str(tmp_path)], "format": declared}
    made = corpus(tmp_path.with_name(f"{tmp_path.name}-c"), source=source, steps=[])
    bad = [json.loads(line) for line in (made.path / "quarantine.jsonl").read_text("utf-8").splitlines()]
    assert [(Path(one["file"]).name, one["reason"], one["fix"]) for one in bad] == [
        (name, "compressed or packed more than 4 times", "unpack it") for name in ("5.gz", "6.gz", "7.tar!inner.gz")
    ]
    assert made.manifest.scores["kept"] == 4 * len(ENGLISH)


def test_a_library_that_is_not_installed_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="none of klick is installed here; did you mean 'click'"):
        corpus(tmp_path / "c", source={"kind": "documentation", "libraries": ["klick"]})


def test_a_pattern_stands_for_files_in_order_and_folders_below(tmp_path: Path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("x/b.txt", "x/a.txt", "x/y/c.txt", "x/d.text"):
        (tmp_path / name).write_text("one two three four", "utf-8")
    files = Files(paths=(tmp_path / "x/**/*.txt",))
    assert [path.name for path in files.inputs()] == ["a.txt", "b.txt", "c.txt"]
    (unit,) = files.units()
    assert [document.id for document in documents(files.read(unit))] == ["a.txt:1", "b.txt:1", "y/c.txt:1"]


@pytest.mark.parametrize("size", [1, 40, 100, 10**6])
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_parts_of_a_file_are_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, end: str):
    monkeypatch.setattr("lathe.core.data.source.CHUNK_BYTES", 50)
    monkeypatch.setattr("lathe.corpus.files.UNIT_BYTES", size)
    lines = [json.dumps({"id": n, "body": "很好 " * (n % 7 + 1)}, ensure_ascii=False) for n in range(30)]
    (tmp_path / "a.jsonl").write_text("\ufeff" + "\n".join([*lines[:9], "{bad", "", *lines[9:]]) + end, "utf-8")
    (tmp_path / "b.txt").write_text("\r\n".join(f"行 {n}" for n in range(20)) + end, "utf-8")
    files = Files(paths=(tmp_path / "a.jsonl", tmp_path / "b.txt"), text="body")
    items = [item for unit in files.units() for item in files.read(unit) if not isinstance(item, Noted)]
    whole = [
        item
        for name in ("a.jsonl", "b.txt")
        for item in read_rows_as_documents(tmp_path / name, *["body"] * (name[0] == "a"))
    ]
    assert items == whole
    assert len(items) == 51
    assert (len(files.units()) > 2) == (size < 1000)


def test_parts_of_a_file_take_the_text_from_the_same_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lathe.corpus.files.UNIT_BYTES", 100)
    monkeypatch.setattr("lathe.core.data.source.CHUNK_BYTES", 50)
    first, later = [{"content": "one two"}] * 9, [{"content": "three four", "text": "not this"}] * 9
    files = Files(paths=(rows(tmp_path / "a.jsonl", *first, *later),))
    items = [item for unit in files.units() for item in files.read(unit)]
    assert len(files.units()) > 2
    assert [item.text for item in documents(items)] == ["not this"] * 9
    assert [item.line for item in items if isinstance(item, Bad)] == list(range(1, 10))


@pytest.mark.parametrize("size", [100, 10**6])
def test_the_column_that_was_taken_for_the_text_is_told(tmp_path, monkeypatch, capsys, size: int):
    monkeypatch.setattr("lathe.corpus.files.UNIT_BYTES", size)
    asked = [{"question": text, "context": "beside it"} for text in ENGLISH]
    files = [rows(tmp_path / name, *asked) for name in ("a.jsonl", "b.jsonl")]
    source = {"kind": "files", "paths": list(map(str, files))}
    assert corpus(tmp_path / "c", source=source).manifest.scores["text columns"] == {"question": 2}
    assert "taken for the text: question (in 2)" in capsys.readouterr().err
    named = corpus(tmp_path / "d", source=source | {"text": "question"})
    assert "text columns" not in named.manifest.scores


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    paths = [tmp_path / name for name in ("x/one/a.txt", "x/two/a.txt", "y/two/a.txt", "y/two/b.txt")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("some words", "utf-8")
    (unit,) = Files(paths=(paths[0], paths[1].parent, *paths[2:])).units()
    assert [piece.name for piece in unit.pieces] == ["one/a.txt", "x/two/a.txt", "y/two/a.txt", "b.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_written_with_its_bytes(tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xc4\xe3.txt"))
    odd.write_bytes(b"one good line of words\nand one\xff that is none\n")
    for paths in ([folder], [folder / "*.txt"]):
        made = corpus(
            tmp_path / f"c{len(str(paths[0]))}", source={"kind": "files", "paths": list(map(str, paths))}, steps=[]
        )
        assert [document.id for document in read_documents(made.path)] == [r"\xc4\xe3.txt:1"]
        assert r"\\xc4\\xe3.txt" in (made.path / "quarantine.jsonl").read_text("utf-8")


def test_a_column_that_is_not_there_is_named(tmp_path: Path):
    source = {"kind": "files", "paths": [str(rows(tmp_path / "a.jsonl", {"text": "x"}))], "text": "body"}
    with pytest.raises(DataError, match=r"a\.jsonl: .*'body'"):
        corpus(tmp_path / "c", source=source)


def test_an_empty_split_has_no_file_and_asking_for_it_says_how_to_get_it(tmp_path: Path):
    source = {"kind": "files", "paths": [str(rows(tmp_path / "a.jsonl", *({"text": text} for text in ENGLISH)))]}
    path = corpus(tmp_path / "c", source=source, split={"validation": 0, "test": 0}).path
    assert splits_of(path) == ("train",)
    with pytest.raises(BundleError, match=r"no test split; make it again with split\.test"):
        list(read_documents(path, "test"))


def test_documentation_becomes_a_corpus_and_a_labelled_set(tmp_path: Path):
    source = {"kind": "documentation", "libraries": ["click", "httpx", "regex"], "labelled": {"labels": 2, "cap": 60}}
    made = corpus(tmp_path / "c", source=source, split={"validation": 0.2, "test": 0.2})
    documents = {split: list(read_documents(made.path, split)) for split in splits_of(made.path)}
    modules = {split: {d.meta["module"] for d in documents[split]} for split in documents}
    labelled = {
        split: [json.loads(line) for line in (made.path / f"classify-{split}.jsonl").read_text("utf-8").splitlines()]
        for split in documents
    }
    for split, found in labelled.items():
        assert {row["module"] for row in found} <= modules[split]
    every = [row for found in labelled.values() for row in found]
    assert len({row["label"] for row in every}) == 2
    assert near_duplicates([row["text"] for row in every], 0.8) == {}


def test_a_corpus_of_another_environment_is_not_taken_for_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"source": {"kind": "documentation", "libraries": ["click"]}}
    corpus(tmp_path / "out", **options)
    assert corpus(tmp_path / "out", **options).reused
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [])
    with pytest.raises(BundleError, match="installed packages"):
        corpus(tmp_path / "out", **options)
