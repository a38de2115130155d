"""Columns are found and shown; rows are read as the task needs them, or say what is wrong."""

import pytest

from lathe.core.data import LABELLED, TAGGED, TEXT, TOKENS_OR_TEXT, Columns, RowError, find_columns, read_row
from lathe.core.errors import DataError
from lathe.core.predictions import Span


@pytest.mark.parametrize(
    "names, found",
    [
        (["text", "label"], ["text", "label"]),
        (["Label", "Sentence", "id"], ["Sentence", "Label"]),
        (["文本", "标签"], ["文本", "标签"]),
        (["id", "review", "label_fine", "label"], ["review", "label"]),
        (["id", "blurb", "category"], ["blurb", "category"]),
        (["text", "polarity"], ["text", "polarity"]),
    ],
)
def test_text_and_label_are_found_by_name_or_by_elimination(names, found):
    assert list(find_columns(names, LABELLED, Columns())[1].values()) == found


def test_tokens_are_preferred_to_text_where_a_task_reads_both():
    assert find_columns(["text", "tokens", "tags", "intent"], TAGGED, Columns())[1] == {
        "tokens": "tokens",
        "tags": "tags",
    }
    assert find_columns(["text", "entities"], TAGGED, Columns())[1] == {"text": "text", "spans": "entities"}
    assert find_columns(["tokens"], TOKENS_OR_TEXT, Columns())[1] == {"tokens": "tokens"}


def test_a_column_that_the_user_names_decides_the_shape():
    found = find_columns(["text", "tokens", "tags", "spans"], TAGGED, Columns(text="text"))[1]
    assert found == {"text": "text", "spans": "spans"}


@pytest.mark.parametrize(
    "names, columns, message",
    [
        (["a", "b"], Columns(), "no column for text and label; the columns are 'a', 'b'; set data.columns.text=NAME"),
        (["review", "label"], Columns(text="reviews"), "no column 'reviews'; did you mean 'review'"),
        (["text", "label"], Columns(tags="label"), "data.columns names tags; what is read here has text[+]label"),
    ],
)
def test_columns_that_cannot_be_found_are_named_with_the_way_out(names, columns, message):
    with pytest.raises(DataError, match=message):
        find_columns(names, LABELLED, columns)


def read(shapes, row):
    return read_row(row, *find_columns(list(row), shapes, Columns()))


def test_numbers_and_truth_values_are_read_as_names_of_labels_and_counted():
    assert read(LABELLED, {"text": "a", "label": 1})[0]["label"] == "1"
    row, notes = read(LABELLED, {"text": "a", "label": True})
    assert row["label"] == "true"
    assert list(notes.values()) == [1]


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
        ([0, 5, "A"], "without start, end and label"),
        ({"start": 1, "end": 5, "label": "A", "text": "hello"}, "the span says 'hello', the text there is 'ello'"),
        ({"start": 8, "end": 9, "label": "A"}, "overlap"),
    ],
)
def test_a_span_that_does_not_fit_its_text_is_refused(span, reason):
    with pytest.raises(RowError, match=reason):
        read(TAGGED, {"text": "hello world", "spans": [span, {"start": 6, "end": 11, "label": "A"}]})


def test_unlabelled_rows_need_no_label():
    assert read(TEXT, {"text": "a"})[0] == {"text": "a"}
    assert read(TOKENS_OR_TEXT, {"tokens": ["北", "京"]})[0]["text"] == "北京"
