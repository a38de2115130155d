"""Telling what kind of rows a file holds: every shape, under the names that data sets give its columns."""

import csv
import json

import pytest

from lathe.core.data import Columns
from lathe.core.errors import LatheError
from lathe.inspect.check import Data, Recipe, run
from lathe.inspect.kinds import BY_NAME, OTHERS, kind_of

SPAN = {"start": 3, "end": 8, "label": "LOC"}
EVENT = {"type": "go", "trigger": {"start": 0, "end": 2}, "arguments": []}
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]

ROWS = [
    ("LABELLED", {"text": "in Paris", "label": "place"}),
    ("LABELLED", {"sentence": "in Paris", "label": 1, "idx": 7}),
    ("LABELLED", {"文本": "去北京", "标签": "地点"}),
    ("LABELLED", {"text": "in Paris", "labels": ["place"]}),
    ("LABELLED", {"text": "in Paris", "label": "good", "score": 0.97}),
    ("LABELLED", {"text": "in Paris", "target": "place"}),
    ("LABELLED", {"text": "in Paris", "kind of place": "city"}),
    ("MULTI_LABELLED", {"text": "in Paris", "labels": ["place", "city"]}),
    ("MULTI_LABELLED", {"text": "in Paris", "labels": "place|city"}),
    ("MULTI_LABELLED", {"text": "in Paris", "genres": ["drama"]}),
    ("PAIRED", {"premise": "in Paris", "hypothesis": "in France", "label": "entailment"}),
    ("PAIRED", {"sentence1": "in Paris", "sentence2": "in France", "label": "0"}),
    ("PAIRED", {"question": "where?", "sentence": "in Paris", "label": 1, "idx": 0}),
    ("PAIRED", {"question": "in Paris?", "passage": "in Paris", "answer": True}),
    ("PAIRED", {"query": "where", "passage": "in Paris", "label": 1}),
    ("PAIRED", {"sentence1": "in Paris", "sentence2": "in France", "verdict": "yes"}),
    ("SCORED", {"sentence1": "in Paris", "sentence2": "in France", "label": 2.6}),
    ("SCORED", {"sentence1": "in Paris", "sentence2": "in France", "score": 3}),
    ("SCORED", {"review": "in Paris", "stars": 4}),
    ("SCORED", {"text": "in Paris", "label": 0.25}),
    ("CHOICES", {"context": "in Paris", "question": "where?", "choices": ["a", "b"], "label": 0}),
    ("CHOICES", {"question": "where?", "options": ["a", "b"], "answer": "B"}),
    ("TAGGED", {"tokens": ["in", "Paris"], "tags": ["O", "B-LOC"]}),
    ("TAGGED", {"id": "0", "tokens": ["in", "Paris"], "pos_tags": [1, 2], "ner_tags": ["O", "B-LOC"]}),
    ("TAGGED", {"text": "in Paris", "spans": [SPAN]}),
    ("TAGGED", {"text": "in Paris", "label": [[3, 8, "LOC"]]}),
    ("TAGGED", {"text": "in Paris", "entities": [], "source": "web"}),
    ("TAGGED", {"id": "1", "text": "in Paris", "spans": [SPAN], "relations": [], "events": [], "others": []}),
    ("INTENT_SLOTS", {"tokens": ["in", "Paris"], "tags": ["O", "B-LOC"], "intent": "go"}),
    ("INTENT_SLOTS", {"text": "in Paris", "slots": [SPAN], "intent": "go"}),
    ("RELATED", {"text": "in Paris", "head": [0, 2], "tail": [3, 8], "relation": "in"}),
    (
        "RELATED",
        {
            "text": "in Paris",
            "spans": [SPAN, {"start": 0, "end": 2, "label": "X"}],
            "relations": [{"head": 1, "tail": 0, "label": "in"}],
        },
    ),
    ("EVENTED", {"text": "in Paris", "events": [EVENT]}),
    ("EVENTED", {"text": "in Paris", "spans": [SPAN], "relations": [], "events": [EVENT]}),
    ("ANSWERED", {"context": "in Paris", "question": "where?", "answers": {"text": ["Paris"], "answer_start": [3]}}),
    ("ANSWERED", {"context": "in Paris", "question": "where?", "answer": "Paris", "id": "7"}),
    ("TRANSFORMED", {"document": "in Paris", "summary": "Paris"}),
    ("TRANSFORMED", {"article": "in Paris", "highlights": "Paris", "id": "7"}),
    ("TRANSFORMED", {"source": "in Paris", "target": "à Paris"}),
    ("TRANSFORMED", {"question": "where?", "answer": "Paris"}),
    ("CONVERSED", {"messages": MESSAGES}),
    ("CONVERSED", {"instruction": "where?", "input": "", "output": "Paris"}),
    ("CONVERSED", {"prompt": "where?", "response": "Paris"}),
    ("RETRIEVED", {"query": "where", "positive": "in Paris", "negative": "in Rome"}),
    ("RETRIEVED", {"anchor": "where", "positive": "in Paris"}),
    ("RETRIEVED", {"query": "where", "pos": ["in Paris"], "neg": ["in Rome"]}),
    ("HISTORY", {"user_id": 7, "history": ["a", "b"], "item": "c"}),
    ("INTERACTED", {"user_id": 7, "item_id": 3, "title": "in Paris", "rating": 4.5, "timestamp": 1}),
    ("TEXT", {"text": "in Paris"}),
    ("TEXT", {"tokens": ["in", "Paris"]}),
    ("PAIR", {"premise": "in Paris", "hypothesis": "in France"}),
    ("QUESTION", {"context": "in Paris", "question": "where?"}),
    ("CHOOSABLE", {"question": "where?", "choices": ["a", "b"]}),
    ("ENTITIES", {"text": "in Paris", "head": [0, 2], "tail": [3, 8]}),
    ("TOOK", {"history": ["a", "b"]}),
    ("PROMPT", {"messages": MESSAGES[:1]}),
    ("SOURCE", {"src": "in Paris"}),
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=lambda value: value if isinstance(value, str) else "+".join(value))
def test_no_file_is_taken_for_another_kind(tmp_path, kind, row):
    assert kind_of(write(tmp_path / "rows.jsonl", [row] * 3), Columns()).name == kind


@pytest.mark.parametrize(
    ("kind", "row"), [one for one in ROWS if all(isinstance(v, str | int | float) for v in one[1].values())]
)
def test_a_table_is_taken_for_the_same_kind(tmp_path, kind, row):
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([list(row), *[list(row.values())] * 3])
    assert kind_of(path, Columns()).name == kind


def test_every_kind_is_tried():
    assert {kind.name for kind in (*BY_NAME, *OTHERS)} == {kind for kind, _ in ROWS}


def test_broken_rows_do_not_change_the_kind(tmp_path):
    answer = {"context": "in Paris", "question": "where?", "answer": "Paris"}
    rows = [answer] * 6 + [answer | {"answer": "Rome"}] * 4
    assert kind_of(write(tmp_path / "rows.jsonl", rows), Columns()).name == "ANSWERED"


def test_rows_with_labels_go_before_rows_without_even_where_few_have_one(tmp_path):
    rows = [{"text": f"row {n}", "label": "a" if n < 3 else None} for n in range(50)]
    assert kind_of(write(tmp_path / "rows.jsonl", rows), Columns()).name == "LABELLED"


def test_texts_that_differ_are_no_labels(tmp_path):
    rows = [{"text": f"row {n}", "comment on it": f"remark {n}"} for n in range(50)]
    assert kind_of(write(tmp_path / "rows.jsonl", rows), Columns()).name == "TEXT"


def test_columns_that_the_user_names_are_found(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"en": "in Paris", "de": "in Paris"}])
    assert kind_of(path, Columns(source="en", target="de")).name == "TRANSFORMED"
    with pytest.raises(LatheError, match="the columns are 'en', 'de'"):
        run(Recipe(data=Data(file=path)))


def test_the_kind_is_told_with_the_task_that_fits(tmp_path):
    told = run(Recipe(data=Data(file=write(tmp_path / "rows.jsonl", [{"text": "in Paris", "label": "place"}]))))
    assert "rows of the kind LABELLED; for task.kind=classify" in told.text
    assert told.values["kind"] == "LABELLED"
    assert "classify" in told.values["tasks"]
