"""Broken files of every shape: each fault is told with file, line, field, value and fix; every good row is kept."""

import json

import pytest

from lathe.core.data import (
    ANSWERED,
    CHOICES,
    CONVERSED,
    EVENTED,
    HISTORY,
    INTENT_SLOTS,
    INTERACTED,
    LABELLED,
    MULTI_LABELLED,
    PAIRED,
    RELATED,
    RETRIEVED,
    SCORED,
    TAGGED,
    TRANSFORMED,
    load,
    read_rows,
    warnings,
)
from lathe.core.errors import DataError

SPAN = {"start": 0, "end": 3, "label": "PER", "text": "Ada"}
BOB = {"start": 5, "end": 8, "label": "PER", "text": "Bob"}
TIE = {"head": 0, "tail": 1, "label": "knows"}
FIRST, SECOND = {"start": 0, "end": 1}, {"start": 1, "end": 2}
RAN = {"type": "run", "trigger": {"start": 4, "end": 7}, "arguments": []}
ROME = {"text": ["Rome"], "answer_start": [3]}
GOOD = {
    "labelled": (LABELLED, {"text": "fine", "label": "x"}),
    "multi": (MULTI_LABELLED, {"text": "fine", "labels": ["x"]}),
    "paired": (PAIRED, {"premise": "a", "hypothesis": "b", "label": "x"}),
    "scored": (SCORED, {"sentence1": "a", "sentence2": "b", "score": 1.5}),
    "choices": (CHOICES, {"question": "q", "choices": ["x", "y"], "label": 1}),
    "tagged": (TAGGED, {"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}),
    "spans": (TAGGED, {"text": "Ada runs", "spans": [SPAN]}),
    "slots": (INTENT_SLOTS, {"tokens": ["to", "Rome"], "tags": ["O", "B-city"], "intent": "fly"}),
    "related": (RELATED, {"text": "Ada, Bob", "spans": [SPAN, BOB], "relations": [TIE]}),
    "pair": (RELATED, {"tokens": ["Ada", "Bob"], "head": FIRST, "tail": SECOND, "relation": "x"}),
    "evented": (EVENTED, {"text": "Ada ran", "events": [RAN]}),
    "answered": (ANSWERED, {"context": "In Rome.", "question": "q", "answers": ROME}),
    "transformed": (TRANSFORMED, {"source": "a", "target": "b"}),
    "conversed": (CONVERSED, {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
    "instructed": (CONVERSED, {"instruction": "a", "input": "", "output": "b"}),
    "retrieved": (RETRIEVED, {"query": "q", "positive": "p", "negative": "n"}),
    "history": (HISTORY, {"history": [1, 2], "item": 3}),
    "interacted": (INTERACTED, {"user": 1, "item": 2, "time": 3}),
}  # fmt: skip


def turns(*roles):
    return [{"role": role, "content": "x"} for role in roles]


def events(**trigger):
    return [{"type": "run", "trigger": trigger, "arguments": []}]


VALUES = {  # name of the fault -> kind of row, column, value, part of the reason
    "empty text": ("labelled", "text", "", "the text is empty"),
    "blank text": ("labelled", "text", "\u3000 ", "the text is empty"),
    "null text": ("labelled", "text", None, "the text is missing"),
    "NUL in a text": ("labelled", "text", "a\0b", "a NUL character at position 1"),
    "number as text": ("labelled", "text", 7, "a number, not a string"),
    "no label": ("labelled", "label", None, "the label is missing"),
    "fraction as label": ("labelled", "label", 0.5, "not a name"),
    "labels with commas": ("multi", "labels", "a, b", "one string with ','"),
    "a label twice": ("multi", "labels", ["x", "x"], "stands twice"),
    "labels that are a number": ("multi", "labels", 3, "a number, not a list"),
    "no second text": ("paired", "hypothesis", "", "the text is empty"),
    "no consensus": ("paired", "label", "-", "did not agree"),
    "score in words": ("scored", "score", "high", "not a number"),
    "infinite score": ("scored", "score", "inf", "not finite"),
    "score that is true": ("scored", "score", True, "not a number"),
    "index of a choice out of range": ("choices", "label", 2, "there is no choice 2"),
    "an answer that is no choice": ("choices", "label", "z", "none of the choices"),
    "one choice": ("choices", "choices", ["x"], "1 choices"),
    "an empty choice": ("choices", "choices", ["x", ""], "the text is empty"),
    "fewer tags": ("tagged", "tags", ["O"], "1 tags for 2 tokens"),
    "a tag of no scheme": ("tagged", "tags", ["PER", "O"], "of no known scheme"),
    "an empty token": ("tagged", "tokens", ["Ada", ""], "token 2 is empty"),
    "a text for tokens": ("tagged", "tokens", "Ada runs", "a string, not a list"),
    "a span off by one": ("spans", "spans", [SPAN | {"start": 1, "end": 4}], "the text there is 'da '"),
    "a span that ends in a space": ("spans", "spans", [{"start": 0, "end": 4, "label": "PER"}], "white space"),
    "a span behind the text": ("spans", "spans", [{"start": 0, "end": 40, "label": "PER"}], "outside the text"),
    "overlapping spans": ("spans", "spans", [SPAN, [1, 8, "X"]], "two spans overlap"),
    "a span without a label": ("spans", "spans", [[0, 3]], "without start, end and label"),
    "no intent": ("slots", "intent", "", "the label is empty"),
    "a slot tag too many": ("slots", "tags", ["O", "O", "O"], "3 tags for 2 tokens"),
    "a relation of a span that is not there": ("related", "relations", [TIE | {"tail": 2}], "none of the spans"),
    "a relation of a span with itself": ("related", "relations", [TIE | {"tail": 0}], "the same span"),
    "a relation without a label": ("related", "relations", [{"head": 0, "tail": 1}], "the label is missing"),
    "a head behind the tokens": ("pair", "head", {"start": 0, "end": 9}, "outside the text of 2 tokens"),
    "a trigger off by one": ("evented", "events", events(start=3, end=6, text="ran"), "the text there is ' ra'"),
    "an event without a trigger": ("evented", "events", [{"type": "run"}], "without a trigger"),
    "an answer off by one": ("answered", "answers", {"text": ["Rome"], "answer_start": [4]}, "at 4 of the context"),
    "an answer not in its context": ("answered", "answers", {"text": ["Oslo"], "answer_start": [3]}, "at 3 of the"),
    "an answer without a start": ("answered", "answers", {"text": ["Rome"]}, "without text and answer_start"),
    "an empty question": ("answered", "question", "", "the text is empty"),
    "an empty target": ("transformed", "target", "", "the text is empty"),
    "a target of null": ("transformed", "target", ["a", None], "the text is missing"),
    "an unknown role": ("conversed", "messages", turns("user", "narrator"), "unknown role"),
    "roles out of order": ("conversed", "messages", turns("user", "user", "assistant"), "turn 2"),
    "the assistant first": ("conversed", "messages", turns("assistant", "user"), "begins with"),
    "no answer at all": ("conversed", "messages", turns("user"), "the assistant says nothing"),
    "an empty output": ("instructed", "output", "", "the text is empty"),
    "nothing to find": ("retrieved", "positive", [], "the list is empty"),
    "found and not to be found": ("retrieved", "negative", ["n", "p"], "to be found and not"),
    "no history": ("history", "history", [], "there are no items"),
    "an item of half": ("history", "item", 1.5, "no name"),
    "a time in words": ("interacted", "time", "noon", "not a number"),
    "no user": ("interacted", "user", None, "no name"),
}


@pytest.mark.parametrize("kind, column, value, reason", VALUES.values(), ids=VALUES)
def test_a_bad_value_is_told_and_costs_its_row_only(tmp_path, kind, column, value, reason):
    shapes, good = GOOD[kind]
    rows = [good, good | {column: value}, good]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = load(file, shapes)
    assert table.lines == [1, 3]
    (bad,) = table.bad
    assert (bad.file, bad.line, bad.field) == (str(file), 2, column)
    assert reason in bad.reason
    assert bad.fix
    json.dumps(bad.value).encode("utf-8")


LINES = {  # name of the fault -> the line
    "not JSON": b'{"text": "a", "label"',
    "another encoding": '{"text": "很好", "label": "x"}'.encode("gb18030"),
    "duplicate key": b'{"text": "a", "text": "b", "label": "x"}',
    "NaN": b'{"text": "a", "label": NaN}',
    "half a character": b'{"text": "a\\ud83d", "label": "x"}',
    "a list": b'["a", "x"]',
    "missing column": b'{"other": "a"}',
    "raw NUL": b'{"text": "a\0", "label": "x"}',
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_bad_line_is_told_whatever_the_rows(tmp_path, kind, line):
    shapes, good = GOOD[kind]
    file = tmp_path / "rows.jsonl"
    written = json.dumps(good).encode()
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([written, line, written]))
    table = load(file, shapes)
    assert table.lines == [1, 3]
    assert [(bad.file, bad.line, bool(bad.reason), bool(bad.fix)) for bad in table.bad] == [(str(file), 2, True, True)]


def test_a_line_of_ten_megabytes_is_a_text_and_one_of_more_than_64_is_told(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    rows = [json.dumps({"text": "a" * 10_000_000, "label": "x"}), json.dumps({"text": "b", "label": "x"})]
    file.write_text("\n".join(rows), encoding="utf-8")
    assert len(load(file, LABELLED).rows) == 2
    monkeypatch.setattr("lathe.core.data.source.MAX_LINE_BYTES", 1 << 20)
    (bad,) = load(file, LABELLED).bad
    assert (bad.line, len(bad.value)) == (1, 1000)


TABLES = {  # name of the fault -> file, content, part of the message
    "blank header": ("a.csv", b"text,\na,x\n", "column 2 has no name"),
    "a name twice": ("a.csv", b"text,text\na,x\n", "two columns are called 'text'"),
    "semicolons": ("a.csv", b"text;label\na;x\n", "separated by ';'"),
    "UTF-16": ("a.csv", "text,label\na,x\n".encode("utf-16"), "iconv -f UTF-16"),
    "another encoding": ("a.tsv", "文本\t标签\n很好\t正面\n".encode("gb18030"), "not UTF-8"),
    "no rows": ("a.tsv", b"text\tlabel\n", "holds no rows"),
    "empty": ("a.tsv", b"", "the file is empty"),
    "no column for the label": ("a.tsv", b"text\tx\ty\na\tb\tc\n", "set data.columns.label=NAME"),
    "binary": ("a.txt", bytes(range(4)) * 512, "binary data"),
    "broken document": ("a.json", b'[{"text": "a"', "a.json:1: not JSON"),
    "another kind": ("a.doc", b"text", "its name must end in one of"),
}


@pytest.mark.parametrize("name, content, message", TABLES.values(), ids=TABLES)
def test_a_file_that_cannot_be_used_is_an_error_with_a_way_out(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        load(file, LABELLED)
    assert str(file) in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("name, line", [("a.csv", "a,b,c"), ("a.csv", "a"), ("a.tsv", "a\tb\tc"), ("a.csv", '"a,x')])
def test_a_ragged_row_is_told_and_costs_itself_only(tmp_path, name, line):
    file = tmp_path / name
    mark = "\t" if name.endswith("tsv") else ","
    file.write_text(f"text{mark}label\na{mark}x\n{line}\nb{mark}y\n", encoding="utf-8")
    table = load(file, LABELLED)
    assert (table.lines, [bad.line for bad in table.bad]) == ([2, 4], [3])


def test_labels_that_differ_in_case_are_pointed_out_of_any_kind(tmp_path):
    file = tmp_path / "a.jsonl"
    labels = [["Sport"], ["sport"], ["news"]]
    rows = [{"text": "a", "labels": one} for one in labels]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert any("'Sport', 'sport'" in line for line in warnings(load(file, MULTI_LABELLED)))


@pytest.mark.parametrize("kind", GOOD)
def test_as_many_rows_are_kept_and_quarantined_as_were_read(tmp_path, kind):
    shapes, good = GOOD[kind]
    rows = [good] + [good | {column: value} for of, column, value, _ in VALUES.values() if of == kind]
    file = tmp_path / "all.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = load(file, shapes)
    assert (len(table.rows), len(table.bad)) == (1, len(rows) - 1)
    assert len(list(read_rows(file))) == len(rows)
