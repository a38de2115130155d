"""Texts with marked stretches: characters or tokens are counted, whatever the spelling of a span."""

import pytest

from lathe.core.data import INTENT_SLOTS, TAGGED, TEXT, TOKENS_OR_TEXT, Columns, RowError, find_columns, read_row
from lathe.core.predictions import Span


def read(shapes, row):
    return read_row(row, *find_columns(list(row), shapes, Columns()))


def test_tokens_and_tags_become_text_and_spans():
    row, notes = read(TAGGED, {"tokens": ["在", "New", "York", "!"], "tags": ["O", "B-LOC", "E-LOC", "O"]})
    assert row["text"] == "在 New York !"
    assert row["spans"] == (Span(2, 10, "LOC"),)
    assert row["tags"] == ("O", "B-LOC", "I-LOC", "O")
    assert [row["text"][a:b] for a, b in row["offsets"]] == list(row["tokens"])
    assert not notes


def test_entities_without_a_begin_are_counted():
    _, notes = read(TAGGED, {"tokens": ["a", "b", "c"], "tags": ["I-X", "O", "I-X"]})
    assert list(notes.values()) == [2]


@pytest.mark.parametrize(
    "tokens, tags, reason",
    [
        (["a"], ["O", "O"], "2 tags for 1 tokens"),
        (["a", ""], ["O", "O"], "token 2 is empty"),
        (["a", 3], ["O", "O"], "token 2"),
        ([], [], "no tokens"),
        ("a b", ["O"], "a string, not a list"),
        (["a"], "O", "a string, not a list"),
        (["a"], ["NNP"], "tag 1 is of no known scheme"),
        (["a"], [None], "tag 1 is of no known scheme"),
    ],
)
def test_tokens_and_tags_that_do_not_fit_are_refused(tokens, tags, reason):
    with pytest.raises(RowError, match=reason):
        read(TAGGED, {"tokens": tokens, "tags": tags})


def test_spans_are_read_in_order():
    spans = [{"start": 6, "end": 7, "label": "B"}, {"start": 0, "end": 5, "label": "A", "text": "hello"}]
    row, _ = read(TAGGED, {"text": "hello 好", "spans": spans})
    assert row == {"text": "hello 好", "spans": (Span(0, 5, "A"), Span(6, 7, "B"))}


@pytest.mark.parametrize(
    "span, reason",
    [
        ({"start": 0, "end": 12, "label": "A"}, "outside the text"),
        ({"start": -1, "end": 2, "label": "A"}, "outside the text"),
        ({"start": 3, "end": 2, "label": "A"}, "outside the text"),
        ({"start": "0", "end": 2, "label": "A"}, "outside the text"),
        ({"start": 0.0, "end": 2, "label": "A"}, "outside the text"),
        ({"start": 2, "end": 2, "label": "A"}, "empty"),
        ({"start": 0, "end": 6, "label": "A"}, "white space"),
        ({"start": 0, "end": 5, "label": ""}, "label of a span"),
        ({"start": 0, "end": 5}, "without start, end and label"),
        ([0, 5], "without start, end and label"),
        ("hello", "without start, end and label"),
        ({"start": 1, "end": 5, "label": ["A", "B"]}, "label of a span"),
        ({"start": 1, "end": 5, "label": "A", "text": "hello"}, "the span says 'hello', the text there is 'ello'"),
        ({"start": 8, "end": 9, "label": "A"}, "overlap"),
    ],
)
def test_a_span_that_does_not_fit_its_text_is_refused(span, reason):
    with pytest.raises(RowError, match=reason):
        read(TAGGED, {"text": "hello world", "spans": [span, {"start": 6, "end": 11, "label": "A"}]})


@pytest.mark.parametrize(
    "span",
    [
        [0, 5, "A"],
        {"start_offset": 0, "end_offset": 5, "label": "A"},
        {"begin": 0, "end": 5, "type": "A", "id": 7},
        {"start": 0, "end": 5, "labels": ["A"], "text": "hello"},
    ],
)
def test_spans_of_doccano_spacy_and_label_studio_are_read(span):
    assert read(TAGGED, {"text": "hello world", "label": [span]})[0]["spans"] == (Span(0, 5, "A"),)


def test_a_span_that_is_off_is_told_where_it_stands_in_code_points():
    given = {"start": 5, "end": 7, "label": "A", "text": "北京"}  # as an editor counts that writes 😀 as two units
    with pytest.raises(RowError) as error:
        read(TAGGED, {"text": "😀😀 在北京!", "spans": [given]})
    assert "the text there is '京!'" in error.value.reason
    assert error.value.fix.startswith("it stands at 4: write that")


def test_lists_in_a_table_are_json():
    row, _ = read(TAGGED, {"tokens": '["a", "b"]', "tags": '["O", "B-X"]'})
    assert row["spans"] == (Span(2, 3, "X"),)


def test_an_utterance_has_slots_and_an_intent():
    row, _ = read(INTENT_SLOTS, {"tokens": ["to", "Rome"], "tags": ["O", "B-city"], "intent": "fly", "text": "to Rome"})
    assert (row["label"], row["spans"], row["tags"]) == ("fly", (Span(3, 7, "city"),), ("O", "B-city"))
    slots = [{"start": 3, "end": 7, "label": "city"}]
    row, _ = read(INTENT_SLOTS, {"text": "to Rome", "slots": slots, "intent": "fly"})
    assert row == {"text": "to Rome", "label": "fly", "spans": (Span(3, 7, "city"),)}


def test_unlabelled_rows_need_no_label():
    assert read(TEXT, {"text": "a"})[0] == {"text": "a"}
    assert read(TOKENS_OR_TEXT, {"tokens": ["北", "京"]})[0]["text"] == "北京"
