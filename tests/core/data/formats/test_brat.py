"""Folders of brat's: entities, relations and events; what cannot be read is told at its line of annotations."""

import errno
import os

import pytest

from lathe.core.data import EVENTED, RELATED, TAGGED, Bad, Record, load, read_rows
from lathe.core.errors import DataError
from lathe.core.predictions import Event, Relation, Span

TEXT = "Ada works for Acme\nCorp in Rome."
ANN = """T1\tPER 0 3\tAda
T2\tORG 14 18;19 23\tAcme Corp
T3\tJob 4 9\tworks
R1\tmember Arg1:T1 Arg2:T2\t
E1\tJob:T3 Who:T1 Where2:T2
A1\tNegation E1
#1\tAnnotatorNotes T1\tsure?
"""
ADA, ACME = Span(0, 3, "PER"), Span(14, 23, "ORG")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8", newline="")
    (tmp_path / "a.ann").write_text(ANN, encoding="utf-8", newline="")
    return tmp_path


def test_a_folder_in_it_that_may_not_be_read_is_refused(folder, monkeypatch):
    (folder / "more").mkdir()
    scandir = os.scandir

    def listed(path):
        if os.fspath(path) == str(folder / "more"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    with pytest.raises(DataError, match=r"/more: this folder cannot be listed \(Permission denied\)"):
        load(folder, RELATED)


def test_a_folder_is_a_row_for_each_text(folder):
    (folder / "more").mkdir()
    (folder / "more" / "b.txt").write_text("nothing", encoding="utf-8")
    (folder / "more" / "b.ann").touch()
    table = load(folder, RELATED)
    assert table.rows[0] == {"text": TEXT, "spans": (ADA, ACME), "relations": (Relation(ADA, ACME, "member"),)}
    assert table.rows[1] == {"text": "nothing", "spans": (), "relations": ()}
    assert table.unused == {"events": 2, "id": 2, "others": 1}
    event = Event(Span(4, 9, "Job"), (Span(0, 3, "Who"), Span(14, 23, "Where")))
    assert load(folder, EVENTED).rows[0]["events"] == (event,)
    assert load(folder, TAGGED).rows[0]["spans"] == (ADA, ACME)


@pytest.mark.parametrize("name", ["a.ann", "a.txt"])
def test_one_pair_is_one_row(folder, name):
    (record,) = read_rows(folder / name)
    assert record.row["id"] == "a"
    assert record.row["others"] == ["A1\tNegation E1", "#1\tAnnotatorNotes T1\tsure?"]


@pytest.mark.parametrize(
    "line, reason, fix",
    [
        ("T9\tPER 0 3;14 18\tAda Acme", "2 pieces that stand apart", "mark one stretch"),
        ("T9\tPER 1 4\tAda", "the line says 'Ada', the text there is 'da '", "it stands at 0"),
        ("T9\tPER 0 99\tAda", "outside the text of 32 characters", "mend"),
        ("T9\tPER 3 0\tAda", "back to front", "mend"),
        ("T9\tPER\tAda", "a line that cannot be read", "mend"),
        ("T1\tPER 0 3\tAda", "the id stands twice", "its own"),
        ("R9\tmember Arg1:T1 Arg2:T8", "no entity of this file", "write the id"),
        ("R9\tmember T1 T2", "a line that cannot be read", "mend"),
        ("E9\tJob:T8 Who:T1", "no entity or event of this file", "write the id"),
        ("E9\tJob:T3 Who:E7", "no entity or event of this file", "write the id"),
        ("E9\tJob", "a line that cannot be read", "mend"),
    ],
)
def test_a_bad_line_is_told_and_costs_its_text_only(folder, line, reason, fix):
    (folder / "b.txt").write_text(TEXT, encoding="utf-8", newline="")
    (folder / "b.ann").write_text(f"{ANN}{line}\n", encoding="utf-8", newline="")
    kept, bad = read_rows(folder)
    assert isinstance(kept, Record) and isinstance(bad, Bad)
    assert (bad.file, bad.line) == (str(folder / "b.ann"), 8)
    assert reason in bad.reason
    assert fix in bad.fix


def test_an_event_may_be_an_argument_of_another(folder):
    (folder / "a.ann").write_text(f"{ANN}T4\tTell 24 26\tin\nE2\tTell:T4 What:E1\n", encoding="utf-8")
    events = load(folder, EVENTED).rows[0]["events"]
    assert events[1].arguments == (Span(4, 9, "What"),)


def test_texts_without_annotations_and_annotations_without_text_are_told(folder):
    (folder / "b.txt").write_text("b", encoding="utf-8")
    (folder / "c.ann").touch()
    (folder / "d.txt").write_bytes(b"\xff")
    (folder / "d.ann").touch()
    bad = {one.file.rpartition("/")[2]: one.reason for one in read_rows(folder) if isinstance(one, Bad)}
    assert bad.keys() == {"b.txt", "c.ann", "d.ann"}
    assert "not UTF-8" in bad["d.ann"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder without brat's annotations"):
        list(read_rows(tmp_path))
