"""What is suspicious about rows, whatever their shape: repeated, contradictory, rare, empty, shared between files."""

import json

import pytest

from lathe.core.errors import LatheError
from lathe.inspect.check import Data, Recipe, run

TEXT = "the quick brown fox jumps over the lazy dog and runs away from all the other animals of that forest"
BASE = {"context": "in Paris", "question": "where?"}
HI, HELLO, BYE = (
    {"role": role, "content": text} for role, text in (("user", "hi"), ("assistant", "hello"), ("assistant", "bye"))
)
PAIR = {"text": "in Paris", "head": [0, 2], "tail": [3, 8]}

CONTRADICTIONS = [
    ({"text": "a", "labels": ["x", "y"]}, {"text": "A", "labels": ["x"]}),
    ({"premise": "a b", "hypothesis": "c", "label": "yes"}, {"premise": "a  b", "hypothesis": "c", "label": "no"}),
    ({"text": "a", "score": 1.5}, {"text": "a", "score": 2}),
    ({"question": "a", "choices": ["b", "c"], "label": 0}, {"question": "a", "choices": ["b", "c"], "label": 1}),
    ({"text": "in Paris", "spans": [[3, 8, "LOC"]]}, {"text": "in Paris", "spans": []}),
    ({"text": "a", "slots": [], "intent": "x"}, {"text": "a", "slots": [], "intent": "y"}),
    (PAIR | {"relation": "x"}, PAIR | {"relation": "y"}),
    ({"text": "a", "events": [{"type": "x", "trigger": [0, 1], "arguments": []}]}, {"text": "a", "events": []}),
    (BASE | {"answers": ["Paris"]}, BASE | {"answers": ["in"]}),
    ({"source": "a", "target": "b"}, {"source": "a", "target": "c"}),
    ({"messages": [HI, HELLO]}, {"messages": [HI, BYE]}),
]
DIFFERENT = [
    ({"premise": "a", "hypothesis": "c", "label": "x"}, {"premise": "a", "hypothesis": "d", "label": "y"}),
    ({"question": "a", "choices": ["b", "c"], "label": 0}, {"question": "a", "choices": ["c", "b"], "label": 1}),
    (PAIR | {"relation": "x"}, PAIR | {"head": [3, 8], "tail": [0, 2], "relation": "y"}),
    (BASE | {"answers": ["Paris"]}, BASE | {"question": "how?", "answers": ["in"]}),
    ({"query": "a", "positive": "b"}, {"query": "a", "positive": "c"}),
    ({"user": 1, "history": ["a"], "item": "b"}, {"user": 1, "history": ["a"], "item": "c"}),
    ({"user": 1, "item": "a"}, {"user": 1, "item": "b"}),
    ({"messages": [HI, HELLO]}, {"messages": [HI, HELLO, HI, BYE]}),
]  # fmt: skip
NAMES = [("+".join(first)) for first, _ in CONTRADICTIONS]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def check(path, rows, **options):
    return run(Recipe(data=Data(file=write(path, rows), **options)))


def kinds(told):
    return {one["kind"]: one["rows"] for one in told.values["suspicions"]}


@pytest.mark.parametrize(("first", "second"), CONTRADICTIONS, ids=NAMES)
def test_rows_that_ask_the_same_and_answer_differently_are_found(tmp_path, first, second):
    told = kinds(check(tmp_path / "rows.jsonl", [first, second]))
    assert (told["duplicates"], told["contradictions"]) == (1, 1)
    same = kinds(check(tmp_path / "same.jsonl", [first, first]))
    assert same["duplicates"] == 1
    assert "contradictions" not in same


@pytest.mark.parametrize(("first", "second"), DIFFERENT, ids=["+".join(first) for first, _ in DIFFERENT])
def test_rows_that_ask_or_answer_other_things_by_right_are_not(tmp_path, first, second):
    assert not {"duplicates", "contradictions"} & kinds(check(tmp_path / "rows.jsonl", [first, second])).keys()


def test_a_row_of_retrieval_that_stands_twice_is_found(tmp_path):
    rows = [{"query": "a", "positive": "b"}, {"query": "A", "positive": "b"}, {"query": "a", "positive": "c"}]
    assert kinds(check(tmp_path / "rows.jsonl", rows))["duplicates"] == 1


def test_the_order_of_answers_does_not_make_them_different(tmp_path):
    rows = [{"text": "a", "labels": ["x", "y"]}, {"text": "a", "labels": ["y", "x"]}]
    assert "contradictions" not in kinds(check(tmp_path / "rows.jsonl", rows))


def test_the_balance_of_labels_is_told(tmp_path):
    rows = [{"text": f"row {n}", "label": "common" if n < 18 else "rare"} for n in range(20)]
    told = check(tmp_path / "rows.jsonl", rows)
    assert told.values["rows_with_label"] == {"text": {"common": 18, "rare": 2}}
    assert "common in 90.0% of the rows, rare in 10.0%" in told.text
    assert "1 labels have fewer than 5 rows: 'rare' 2" in told.text


def test_a_row_counts_once_for_a_label_that_it_has_twice(tmp_path):
    rows = [{"text": "a b", "spans": [[0, 1, "X"], [2, 3, "X"]]}]
    assert check(tmp_path / "rows.jsonl", rows).values["rows_with_label"] == {"span": {"X": 1}}


def test_every_column_of_texts_has_its_lengths(tmp_path):
    rows = [{"context": "in Paris", "question": "where?", "answers": ["Paris"]}]
    told = check(tmp_path / "rows.jsonl", rows)
    assert {name: spread["longest"] for name, spread in told.values["characters"].items()} == {
        "context": 8,
        "question": 6,
        "answers": 5,
    }
    assert "characters of question: shortest 6, median 6, p95 6, longest 6" in told.text


def test_empty_answers_are_counted_and_suspicious_where_there_is_nothing_else(tmp_path):
    some = check(tmp_path / "some.jsonl", [{"text": "a", "spans": [[0, 1, "X"]]}, {"text": "b", "spans": []}])
    assert some.values["empty_answers"] == {"spans": 1}
    assert "1 of 2 rows have no spans" in some.text
    assert "empty answers" not in kinds(some)
    assert kinds(check(tmp_path / "all.jsonl", [{"text": "a", "spans": []}]))["empty answers"] == 1


def test_rows_that_are_nearly_those_of_another_file_are_found(tmp_path):
    train = [{"text": TEXT, "label": "a"}, {"text": "去年冬天我们在北京看了一部很好的影片", "label": "a"}]
    near = [
        TEXT.replace("forest", "wood"),
        "去年冬天我们在北京看了一部很好的电影",
        TEXT.upper(),
        "the quick dog",
    ]
    path = write(tmp_path / "test.jsonl", [{"text": text, "label": "a"} for text in near])
    told = check(tmp_path / "train.jsonl", train, against=path)
    assert (kinds(told)["overlap"], kinds(told)["near overlap"]) == (1, 2)
    assert (
        "2 of 4 rows of test.jsonl ask nearly what a row of train.jsonl does, such as line 1 (there line 1)"
        in told.text
    )


def test_a_label_between_the_texts_of_a_pair_is_no_leak(tmp_path):
    rows = [{"premise": f"row {n}", "hypothesis": "text", "label": "text" if n % 2 else "pair"} for n in range(20)]
    assert "label in text" not in kinds(check(tmp_path / "rows.jsonl", rows))


def test_a_second_file_of_another_kind_is_refused(tmp_path):
    other = write(tmp_path / "other.jsonl", [{"query": "a", "positive": "b", "negative": "c"}])
    with pytest.raises(LatheError, match=r"other.jsonl: no column for"):
        check(tmp_path / "rows.jsonl", [{"text": "a", "spans": [[0, 1, "X"]]}], against=other)
