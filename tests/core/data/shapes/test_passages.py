"""Answers stand where they are said to stand; what is found, or taken, has a name."""

import pytest

from lathe.core.data import (
    ANSWERED,
    HISTORY,
    INTERACTED,
    QUESTION,
    RETRIEVED,
    TOOK,
    Columns,
    Place,
    RowError,
    find_columns,
    read_row,
)

CONTEXT = "😀 Paris is the capital of France. France is large."


def read(shapes, row):
    return read_row(row, *find_columns(list(row), shapes, Columns()))


def answers(given, **more):
    return read(ANSWERED, {"context": CONTEXT, "question": "What?", "answers": given} | more)


@pytest.mark.parametrize(
    "given",
    [
        {"text": ["Paris"], "answer_start": [2]},
        {"text": "Paris", "answer_start": 2},
        [{"text": "Paris", "answer_start": 2, "answer_end": 7}],
        '[{"text": "Paris", "answer_start": 2}]',
    ],
)
def test_answers_are_read_however_they_are_written(given):
    assert answers(given)[0]["answers"] == (Place("Paris", 2),)


def test_an_answer_without_a_place_is_found_and_counted():
    row, notes = answers(["Paris"], id=7)
    assert (row["answers"], row["id"]) == ((Place("Paris", 2),), "7")
    assert "read where they stand" in next(iter(notes))
    row, notes = answers("France")
    assert row["answers"] == (Place("France", 26),)
    assert "the first is taken" in next(iter(notes))


@pytest.mark.parametrize(
    "given, more",
    [([], {}), (None, {}), ({"text": [], "answer_start": []}, {}), ([], {"is_impossible": True})],
)
def test_a_question_may_have_no_answer(given, more):
    assert answers(given, **more)[0]["answers"] == ()


@pytest.mark.parametrize(
    "given, reason, fix",
    [
        ([{"text": "Paris", "answer_start": 3}], "at 3 of the context stands 'aris '", "it stands at 2: write that"),
        ([{"text": "Paris", "answer_start": -3}], "at -3", "it stands at 2"),
        ([{"text": "Paris", "answer_start": 900}], "at 900 of the context stands ''", "it stands at 2"),
        ([{"text": "France", "answer_start": 0}], "at 0", "it stands at 26, 34: write the one that is meant"),
        ([{"text": "paris", "answer_start": 2}], "at 2 of the context stands 'Paris'", "nowhere"),
        ([{"text": "Paris", "answer_start": 2.0}], "a number, no whole number", "answer_start"),
        ([{"text": "", "answer_start": 2}], "empty", "write it"),
        (["Rome"], "not in the context", "nowhere"),
        ({"text": ["Paris"], "answer_start": []}, "1 texts and 0 starts", "answer_start"),
        ({"text": ["Paris"]}, "without text and answer_start", "answer_start"),
        (12, "a number", "answer_start"),
    ],
)
def test_an_answer_that_is_not_in_its_place_is_refused_with_the_right_one(given, reason, fix):
    with pytest.raises(RowError) as error:
        answers(given)
    assert reason in error.value.reason
    assert fix in error.value.fix


def test_an_impossible_question_with_an_answer_is_refused():
    with pytest.raises(RowError, match="said to have none"):
        answers([{"text": "Paris", "answer_start": 2}], is_impossible=True)
    with pytest.raises(RowError, match="neither true nor false"):
        answers([], is_impossible="maybe")


def test_a_question_to_answer_needs_no_answers():
    assert read(QUESTION, {"context": "c", "question": "q"})[0] == {"context": "c", "question": "q"}


def test_what_is_to_be_found_is_one_text_or_several():
    row, _ = read(RETRIEVED, {"anchor": "q", "positive": "p", "negative": "n"})
    assert row == {"query": "q", "positives": ("p",), "negatives": ("n",)}
    passages = [{"docid": "1", "title": "T", "text": "p"}]
    row, _ = read(RETRIEVED, {"query": "q", "positive_passages": passages, "negative_passages": []})
    assert row == {"query": "q", "positives": ("p",), "negatives": ()}


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"query": "q", "pos": []}, "the list is empty"),
        ({"query": "q", "pos": ["p", ""]}, "the text is empty"),
        ({"query": "q", "pos": ["p"], "neg": ["n", "p"]}, "to be found and not to be found"),
        ({"query": "q", "pos": [{"docid": 1}]}, "an object, not a string"),
    ],
)
def test_what_cannot_be_found_is_refused(row, reason):
    with pytest.raises(RowError, match=reason):
        read(RETRIEVED, row)


def test_a_history_is_followed_by_an_item():
    row = {"user_id": 3, "history": [5, "7"], "item": 9}
    assert read(HISTORY, row)[0] == {"history": ("5", "7"), "user": "3", "item": "9"}
    assert read(TOOK, {"history": [5]})[0] == {"history": ("5",)}
    for broken in ({"history": [], "item": 1}, {"history": [None], "item": 1}, {"history": [1], "item": 1.5}):
        with pytest.raises(RowError):
            read(HISTORY, broken)


def test_an_interaction_is_a_row():
    row = {"user": 1, "item": 2, "title": "Heat", "rating": 5, "time": 99}
    assert read(INTERACTED, row)[0] == {"user": "1", "item": "2", "text": "Heat", "time": 99.0, "score": 5.0}
