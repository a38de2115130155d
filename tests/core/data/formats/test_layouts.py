"""Rows of GLUE, SuperGLUE, CLUE and their like, as their files are published."""

import json

import pytest

from lathe.core.data import (
    ANSWERED,
    CHOICES,
    LABELLED,
    PAIRED,
    RELATED,
    RETRIEVED,
    TAGGED,
    TRANSFORMED,
    Columns,
    Place,
    load,
    read_rows,
)
from lathe.core.errors import DataError
from lathe.core.predictions import Span


@pytest.fixture
def rows_of(tmp_path):
    def rows(shapes, row, columns=None):
        file = tmp_path / "a.jsonl"
        file.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
        return load(file, shapes, columns).rows

    return rows


def test_a_translation_has_a_column_for_each_language(rows_of):
    row = {"translation": {"en": "hi", "de": "hallo"}}
    assert rows_of(TRANSFORMED, row, Columns(source="de", target="en")) == [{"source": "hallo", "targets": ("hi",)}]
    with pytest.raises(DataError, match="the columns are 'en', 'de'; set data.columns.source=NAME"):
        rows_of(TRANSFORMED, row)


CHOICE_ROWS = {
    "COPA": (
        {"premise": "p", "choice1": "x", "choice2": "y", "question": "cause", "label": 1, "idx": 0},
        {"text": "p", "question": "What was the CAUSE of this?", "choices": ("x", "y"), "label": 1},
    ),
    "SWAG": (
        {"startphrase": "p", "sent1": "p", "ending0": "a", "ending1": "b", "ending2": "c", "ending3": "d", "label": 2},
        {"text": "p", "choices": ("a", "b", "c", "d"), "label": 2},
    ),
    "WinoGrande": (
        {"sentence": "The _ fits.", "option1": "box", "option2": "cup", "answer": "2"},
        {"text": "The _ fits.", "choices": ("box", "cup"), "label": 1},
    ),
    "C-Eval": (
        {"id": 0, "question": "q", "A": "w", "B": "x", "C": "y", "D": "z", "answer": "C"},
        {"text": "q", "choices": ("w", "x", "y", "z"), "label": 2},
    ),
    "ARC": (
        {"question": {"stem": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}}, "answerKey": "2"},
        {"text": "q", "choices": ("x", "y"), "label": 1},
    ),
    "CHID of FewCLUE": (
        {"id": 0, "content": "他#idiom#。", "candidates": ["x", "y"], "answer": 1},
        {"text": "他#idiom#。", "choices": ("x", "y"), "label": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("row, read", CHOICE_ROWS.values(), ids=CHOICE_ROWS)
def test_choices_are_put_together(rows_of, row, read):
    assert rows_of(CHOICES, row) == [read]


def test_every_answer_of_multirc_is_a_pair(rows_of):
    answers = [{"text": "x", "label": 1}, {"text": "y", "label": 0}]
    row = {"idx": 0, "passage": {"text": "p", "questions": [{"question": "q?", "answers": answers}]}}
    first, second = rows_of(PAIRED, row)
    assert first == {"text": "p", "text_pair": "q? x", "label": "1"}
    assert second["text_pair"] == "q? y"


def test_a_question_of_record_is_answered_in_its_passage(rows_of):
    qas = [{"query": "@placeholder fell", "idx": 4, "answers": [{"start": 0, "end": 2, "text": "Ada"}]}]
    (row,) = rows_of(ANSWERED, {"passage": {"text": "Ada fell", "entities": []}, "qas": qas, "idx": 0})
    assert (row["question"], row["answers"]) == ("@placeholder fell", (Place("Ada", 0),))


@pytest.mark.parametrize(
    "text, target, head, tail",
    [
        (
            'Mark told "Pete, he" knew',
            {"span1_index": 2, "span1_text": "Pete", "span2_index": 3, "span2_text": "he"},
            (11, 15),
            (17, 19),
        ),
        ("小明说他走", {"span1_index": 0, "span1_text": "小明", "span2_index": 3, "span2_text": "他"}, (0, 2), (3, 4)),
    ],
)
def test_spans_of_winograd_count_words_or_characters(rows_of, text, target, head, tail):
    (row,) = rows_of(RELATED, {"text": text, "target": target, "label": "true", "idx": 1})
    ((first, second),) = row["pairs"]
    assert ((first.start, first.end), (second.start, second.end)) == (head, tail)
    assert row["relations"][0].label == "true"


def test_entities_of_cluener_end_behind_their_last_character(rows_of):
    (row,) = rows_of(TAGGED, {"text": "叶老桂认为", "label": {"name": {"叶老桂": [[0, 2]]}}})
    assert row["spans"] == (Span(0, 3, "name"),)


def test_keywords_of_csl_are_the_second_text(rows_of):
    (row,) = rows_of(PAIRED, {"id": 1, "abst": "摘要", "keyword": ["a", "b"], "label": "1"})
    assert row == {"text": "摘要", "text_pair": "a、b", "label": "1"}


def test_numbered_negatives_are_a_list(rows_of):
    (row,) = rows_of(RETRIEVED, {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m"})
    assert row["negatives"] == ("n", "m")


def test_cola_has_no_header(tmp_path):
    file = tmp_path / "train.tsv"
    file.write_text("gj04\t1\t\tIt runs.\ngj04\t0\t*\tIt run.\n", encoding="utf-8")
    assert load(file, LABELLED).rows == [{"text": "It runs.", "label": "1"}, {"text": "It run.", "label": "0"}]


def test_lcqmc_has_no_header(tmp_path):
    file = tmp_path / "train.tsv"
    file.write_text("喜欢吗\t爱吗\t1\n来吗\t去吗\t0\n", encoding="utf-8")
    assert [row["label"] for row in load(file, PAIRED).rows] == ["1", "0"]


def test_a_layout_that_is_broken_is_quarantined(tmp_path):
    file = tmp_path / "a.jsonl"
    broken = [
        {"passage": {"text": "p", "questions": "q"}},
        {"passage": {"text": "p"}, "qas": [{"answers": []}]},
        {"text": "t", "label": {"name": [1]}},
        {"text": "t", "target": {"span1_text": "t"}},
    ]
    file.write_text("\n".join(map(json.dumps, broken)), encoding="utf-8")
    assert [(bad.line, bad.field) for bad in read_rows(file)] == [
        (1, "passage"),
        (2, "qas"),
        (3, "label"),
        (4, "target"),
    ]
