"""Labels, lists of labels, numbers and choices are read as what they say, or refused."""

import pytest

from lathe.core.data import (
    CHOICES,
    CHOOSABLE,
    LABELLED,
    MULTI_LABELLED,
    PAIR,
    PAIRED,
    SCORED,
    TEXT_OR_PAIR,
    Columns,
    RowError,
    find_columns,
    read_row,
)


def read(shapes, row):
    return read_row(row, *find_columns(list(row), shapes, Columns()))


def test_numbers_and_truth_values_are_read_as_names_of_labels_and_counted():
    assert read(LABELLED, {"text": "a", "label": 1})[0]["label"] == "1"
    row, notes = read(LABELLED, {"text": "a", "label": True})
    assert row["label"] == "true"
    assert list(notes.values()) == [1]


def test_a_list_of_one_label_is_that_label_and_counted():
    row, notes = read(LABELLED, {"text": "a", "label": ["sport"]})
    assert row["label"] == "sport"
    assert list(notes.values()) == [1]
    with pytest.raises(RowError, match="the label is a list"):
        read(LABELLED, {"text": "a", "label": ["sport", "news"]})


def test_a_label_of_minus_one_is_pointed_out():
    _, notes = read(LABELLED, {"text": "a", "label": -1})
    assert any("Hugging Face" in note for note in notes)


@pytest.mark.parametrize(
    "given, labels",
    [
        (["b", "a"], ("b", "a")),
        ([], ()),
        ([2, 5], ("2", "5")),
        ('["a, b", "c"]', ("a, b", "c")),
        ("a|b, c", ("a", "b, c")),
        ("a", ("a",)),
        ("", ()),
    ],
)
def test_a_text_may_have_any_number_of_labels(given, labels):
    assert read(MULTI_LABELLED, {"text": "t", "labels": given})[0] == {"text": "t", "labels": labels}


@pytest.mark.parametrize(
    "given, reason",
    [
        ("a, b", "one string with ',' in it"),
        ("a；b", "one string with '；' in it"),
        (["a", "a"], "'a' stands twice"),
        (["a", ""], "the label is empty"),
        ("a||b", "the label is empty"),
        ([None], "the label is missing"),
        ([["a", "b"]], "the label is a list"),
        (None, "the labels are null"),
        (0.5, "the labels are a number"),
    ],
)
def test_labels_that_are_no_list_of_names_are_refused(given, reason):
    with pytest.raises(RowError, match=reason) as error:
        read(MULTI_LABELLED, {"text": "t", "labels": given})
    assert error.value.field == "labels"


def test_two_texts_and_their_label():
    row = {"premise": "a", "hypothesis": "b", "gold_label": "neutral"}
    assert read(PAIRED, row)[0] == {"text": "a", "text_pair": "b", "label": "neutral"}
    assert read(PAIR, row)[0] == {"text": "a", "text_pair": "b"}


def test_a_pair_without_consensus_has_no_label():
    with pytest.raises(RowError, match="did not agree"):
        read(PAIRED, {"sentence1": "a", "sentence2": "b", "gold_label": "-"})


def test_the_second_text_of_a_pair_is_named_when_it_is_empty():
    with pytest.raises(RowError, match="empty") as error:
        read(PAIRED, {"sentence1": "a", "sentence2": " ", "label": "x"})
    assert error.value.field == "sentence2"


@pytest.mark.parametrize("given, score", [(3, 3.0), (2.5, 2.5), ("1e-3", 0.001), ("-4", -4.0)])
def test_scores_are_numbers(given, score):
    assert read(SCORED, {"text": "a", "score": given})[0] == {"text": "a", "score": score}


@pytest.mark.parametrize(
    "given, reason",
    [
        ("nan", "not finite"),
        ("-inf", "not finite"),
        (float("nan"), "not finite"),
        (True, "true or false, not a number"),
        ("high", "a string, not a number"),
        ([1], "a list, not a number"),
        ("", "missing"),
        (None, "missing"),
    ],
)
def test_scores_that_are_no_numbers_are_refused(given, reason):
    with pytest.raises(RowError, match=reason) as error:
        read(SCORED, {"sentence1": "a", "sentence2": "b", "similarity": given})
    assert error.value.field == "similarity"


def test_a_score_belongs_to_one_text_or_to_two():
    row = read(SCORED, {"sentence1": "a", "sentence2": "b", "score": 1})[0]
    assert row == {"text": "a", "text_pair": "b", "score": 1.0}
    assert read(TEXT_OR_PAIR, {"sentence1": "a", "sentence2": "b"})[0] == {"text": "a", "text_pair": "b"}


@pytest.mark.parametrize(
    "choices, right, label",
    [
        (["yes", "no"], 1, 1),
        (["yes", "no"], "no", 1),
        (["yes", "no"], "B", 1),
        (["yes", "no"], "1", 1),
        (["10", "20", "30"], "20", 1),
        ({"label": ["A", "B"], "text": ["yes", "no"]}, "B", 1),
        ({"label": ["1", "2", "3"], "text": ["x", "y", "z"]}, "2", 1),
        ([{"label": "A", "text": "yes"}, {"label": "B", "text": "no"}], "B", 1),
        ('["yes", "no"]', "no", 1),
    ],
)
def test_the_right_choice_is_an_index_a_letter_or_a_text(choices, right, label):
    row = read(CHOICES, {"question": "q?", "choices": choices, "answer": right})[0]
    assert row["label"] == label
    assert row["text"] == "q?"
    assert "question" not in row


@pytest.mark.parametrize(
    "choices, right, reason",
    [
        (["yes", "no"], 2, "there is no choice 2: the 2 count from 0"),
        (["yes", "no"], -1, "there is no choice -1"),
        (["yes", "no"], True, "true or false"),
        (["yes", "no"], "maybe", "none of the choices"),
        (["yes", "no"], "", "missing"),
        (["yes", "no"], None, "missing"),
        (["yes", "yes"], "yes", "may mean the choices 0 and 1"),
        (["1", "2", "3"], "1", "may mean the choices 0 and 1"),
        (["only"], 0, "1 choices"),
        (["yes", ""], 0, "the text is empty"),
        ("yes or no", 0, "a string, not a list"),
    ],
)
def test_a_choice_that_is_not_there_or_not_clear_is_refused(choices, right, reason):
    with pytest.raises(RowError, match=reason):
        read(CHOICES, {"context": "c", "question": "q?", "choices": choices, "label": right})


def test_a_question_may_stand_beside_a_text():
    row = {"context": "c", "question": "q?", "choices": ["x", "y"], "label": 0}
    assert read(CHOICES, row)[0] == {"text": "c", "question": "q?", "choices": ("x", "y"), "label": 0}
    assert read(CHOOSABLE, row)[0] == {"text": "c", "question": "q?", "choices": ("x", "y")}
