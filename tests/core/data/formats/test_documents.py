"""JSON documents: rows have their lines, a broken row costs no other, a broken document is told at its place."""

import json

import pytest

from lathe.core.data import (
    ANSWERED,
    CHOICES,
    CONVERSED,
    LABELLED,
    MULTI_LABELLED,
    RELATED,
    TAGGED,
    Bad,
    Place,
    Record,
    load,
    read_rows,
)
from lathe.core.errors import DataError
from lathe.core.predictions import Span


def write(path, value, **options):
    path.write_text(json.dumps(value, ensure_ascii=False, **options), encoding="utf-8")
    return path


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "你好 Paris is big.",
                    "qas": [
                        {"id": "1", "question": "What?", "answers": [{"text": "Paris", "answer_start": 3}]},
                        {"id": "2", "question": "Who?", "answers": [], "is_impossible": True},
                        {"id": "3", "question": "Off?", "answers": [{"text": "Paris", "answer_start": 4}]},
                    ],
                }
            ],
        }
    ],
}


@pytest.mark.parametrize("options", [{}, {"indent": 1}])
def test_squad_is_a_row_for_each_question(tmp_path, options):
    table = load(write(tmp_path / "train.json", SQUAD, **options), ANSWERED)
    assert [(row["id"], row["answers"]) for row in table.rows] == [("1", (Place("Paris", 3),)), ("2", ())]
    (bad,) = table.bad
    assert "it stands at 3" in bad.fix
    lines = (tmp_path / "train.json").read_text("utf-8").splitlines()
    assert '"id": "3"' in "".join(lines[bad.line - 1 : bad.line + 1])


def test_answers_of_cmrc_have_no_places(tmp_path):
    qas = [{"query_text": "什么？", "query_id": "Q1", "answers": ["北京", "北京"]}]
    file = write(tmp_path / "cmrc.json", [{"context_id": "C", "context_text": "在北京。", "qas": qas, "title": "T"}])
    table = load(file, ANSWERED)
    row = {"context": "在北京。", "question": "什么？", "id": "Q1", "answers": (Place("北京", 1),) * 2}
    assert table.rows == [row]
    assert any("without a place" in note for note in table.notes)


def test_dialogues_of_c3_are_a_row_for_each_question(tmp_path):
    questions = [
        {"question": "几个?", "choice": ["2", "1"], "answer": "1"},
        {"question": "?", "choice": ["x", "y"], "answer": "z"},
    ]
    file = write(tmp_path / "c3.json", [[["男：你好", "女：好"], questions, "d-1"]])
    table = load(file, CHOICES)
    assert table.rows == [{"text": "男：你好\n女：好", "question": "几个?", "choices": ("2", "1"), "label": 1}]
    assert table.bad[0].reason == "none of the choices"


def test_lists_of_alpaca_and_sharegpt_are_conversations(tmp_path):
    file = write(tmp_path / "alpaca.json", [{"instruction": "a", "input": "", "output": "b"}])
    assert load(file, CONVERSED).rows == [{"messages": (("user", "a"), ("assistant", "b"))}]
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    file = write(tmp_path / "sharegpt.json", [{"id": "1", "conversations": turns}], indent=2)
    assert load(file, CONVERSED).rows == [{"messages": (("user", "a"), ("assistant", "b"))}]


def task(text, result, **more):
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": result, **more}], "predictions": []}


def mark(name, start, end, text, label):
    value = {"start": start, "end": end, "text": text, "labels": [label]}
    return {"id": name, "type": "labels", "from_name": "label", "to_name": "text", "value": value}


def test_tasks_of_label_studio_are_rows(tmp_path):
    tie = {"type": "relation", "from_id": "x", "to_id": "y", "direction": "right", "labels": ["in"]}
    result = [mark("x", 0, 3, "Ada", "PER"), mark("y", 7, 11, "Rome", "LOC"), tie]
    file = write(tmp_path / "project.json", [task("Ada in Rome", result), task("nothing here", [])])
    first, second = load(file, RELATED).rows
    assert first["spans"] == (Span(0, 3, "PER"), Span(7, 11, "LOC"))
    assert first["relations"][0].label == "in"
    assert second == {"text": "nothing here", "spans": (), "relations": ()}


def test_choices_of_label_studio_are_labels(tmp_path):
    def chosen(*names):
        return [{"type": "choices", "value": {"choices": list(names)}}]

    file = write(tmp_path / "project.json", [task("a", chosen("x")), task("b", chosen("x", "y")), task("c", [])])
    assert [row["labels"] for row in load(file, MULTI_LABELLED).rows] == [("x",), ("x", "y"), ()]
    table = load(file, LABELLED)
    assert (table.rows, len(table.bad)) == ([{"text": "a", "label": "x"}], 2)


@pytest.mark.parametrize(
    "broken, reason",
    [
        (task("Ada", [mark("x", 0, 2, "Ada", "PER")]), "the span says 'Ada'"),
        (task("Ada", []) | {"annotations": [{"result": []}, {"result": []}]}, "several annotations"),
        (task("Ada", []) | {"annotations": []}, "the column is missing"),
        (task("Ada", [], was_cancelled=True), "the column is missing"),
        ({"text": "Ada"}, "no task of Label Studio"),
        (task("Ada", [{"value": {}}]), "a result without its type"),
    ],
)
def test_a_task_that_is_not_clear_is_quarantined(tmp_path, broken, reason):
    good = task("Ada", [mark("x", 0, 3, "Ada", "PER")])
    table = load(write(tmp_path / "project.json", [good, broken], indent=1), TAGGED)
    assert len(table.rows) == len(table.bad) == 1
    assert reason in table.bad[0].reason
    assert table.bad[0].line > 10


def test_one_of_several_annotations_may_be_the_truth(tmp_path):
    right = {"result": [mark("x", 0, 3, "Ada", "PER")], "ground_truth": True}
    both = task("Ada", []) | {"annotations": [{"result": []}, right]}
    assert load(write(tmp_path / "project.json", [both]), TAGGED).rows[0]["spans"] == (Span(0, 3, "PER"),)


BROKEN = {
    "a number": (b"12", "a number, not a row"),
    "a list": (b'["text"]', "a list, not a row"),
    "twice": (b'{"text": "a", "text": "b", "label": "x"}', "the key stands twice"),
    "NaN": (b'{"text": NaN, "label": "x"}', "NaN is not JSON"),
    "UTF-8": (b'{"text": "\xff", "label": "x"}', "not UTF-8: byte 0xff at offset"),
    "half": (b'{"text": "a\\ud83d", "label": "x"}', "half a surrogate pair"),
    "empty": (b'{"text": "", "label": "x"}', "the text is empty"),
}


@pytest.mark.parametrize("broken, reason", BROKEN.values(), ids=BROKEN)
def test_a_broken_row_of_a_list_costs_no_other(tmp_path, broken, reason):
    file = tmp_path / "a.json"
    good = '{"text": "好", "label": "x"}'.encode()
    file.write_bytes(b"\xef\xbb\xbf[\n" + b",\n".join([good, broken, good]) + b"\n]\n")
    table = load(file, LABELLED)
    assert table.lines == [2, 4]
    assert (table.bad[0].line, table.bad[0].offset) == (3, file.read_bytes().index(broken))
    assert reason in table.bad[0].reason


@pytest.mark.parametrize(
    "content, message",
    [
        ('[{"a": 1}', r"a.json:1: not JSON: a comma or \] is expected at character 10"),
        ('[{"a": 1} {"a": 2}]', "a comma or"),
        ('[{"a": 1}]\n[2]', "a.json:2: not JSON: text follows the end of the list"),
        ('[\n{"a": tru}]', "a.json:2: not JSON: Expecting value"),
        ('{\n"train": []}', "one JSON object with 'train'; write a list of rows"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "holds no rows"),
    ],
)
def test_a_broken_document_is_told_at_its_place(tmp_path, content, message):
    file = tmp_path / "a.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(file, LABELLED)


def test_objects_one_a_line_stay_rows_of_lines(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"text": "a", "label": "x"}\nbroken\n', encoding="utf-8")
    assert [type(record) for record in read_rows(file)] == [Record, Bad]
