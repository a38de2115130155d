"""A reader from rows to a bundle that answers: threshold chosen, saved, opened in transformers, and served."""

import json

import pytest
import torch
from fastapi.testclient import TestClient
from transformers import AutoModelForMaskedLM, AutoModelForQuestionAnswering

from lathe import load
from lathe.core.bundle import Bundle
from lathe.core.errors import BundleError, DataError
from lathe.core.recipe import parse
from lathe.evaluate import Recipe as Evaluate
from lathe.evaluate import run as evaluate
from lathe.finetune import Recipe, run
from lathe.inspect.check import Data
from lathe.inspect.check import Recipe as Check
from lathe.inspect.check import run as check
from lathe.models.pretrained import new_model, save_model
from lathe.serve.app import build_app
from lathe.serve.served import Models, Served

ROWS = [
    {"id": 1, "context": "a great film in Paris", "question": "in",
     "answers": {"text": ["Paris"], "answer_start": [16]}},
    {"id": 2, "context": "影片很好在北京", "question": "在", "answers": {"text": ["北京"], "answer_start": [5]}},
    {"id": 3, "context": "plot is bad", "question": "in", "answers": {"text": [], "answer_start": []}},
    {"id": 4, "context": "good " * 40 + "in Paris", "question": "in",
     "answers": {"text": ["Paris"], "answer_start": [203]}},
]  # fmt: skip
TASK = {"kind": "answer", "max_length": 24, "stride": 6}


def write(file, rows):
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def finetune(tmp_path, tokenizer, bert_config):
    """Fine-tune a tiny model on some rows until it knows them."""
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")

    def begin(rows, steps=60, **task):
        file = write(tmp_path / "rows.jsonl", rows)
        train = {"max_steps": steps, "learning_rate": 0.02, "precision": "fp32"}
        data = {"train": file, "validation": file}
        values = {"base": tmp_path / "base", "data": data, "task": TASK | task, "train": train}
        return run(parse(Recipe, values), tmp_path / "out")

    return begin


def test_a_reader_learns_finds_its_threshold_and_is_the_same_when_opened(finetune, tmp_path, capsys):
    bundle = finetune(ROWS)
    task, scores = bundle.manifest.task, bundle.manifest.scores
    assert task["null_score_diff_threshold"] is not None
    assert scores["validation"]["exact_match"] == 1.0 > scores["validation_baseline"]["exact_match"]
    assert "read in" in capsys.readouterr().err

    asked = [{"context": row["context"], "question": row["question"]} for row in ROWS]
    model = load(bundle.path)
    answers = model(asked)
    assert [(one.text, one.start) for one in answers] == [("Paris", 16), ("北京", 5), ("", None), ("Paris", 203)]
    opened = AutoModelForQuestionAnswering.from_pretrained(bundle.path).eval()
    inputs = model.tokenizer("in", "a great film in Paris", return_tensors="pt")
    with torch.no_grad():
        out = opened(**inputs)
    context = slice(3, -1)  # [CLS] in [SEP] a great film in Paris [SEP]
    assert (out.start_logits[0, context].argmax(), out.end_logits[0, context].argmax()) == (4, 4)

    client = TestClient(build_app(Models([Served("demo", "1", model)])), "http://localhost")
    reply = client.post("/predict", json={"rows": asked[:3]})
    assert [one["text"] for one in reply.json()["predictions"]] == ["Paris", "北京", ""]
    assert client.post("/predict", json={"rows": [{"text": "good"}]}).status_code == 422

    report = evaluate(
        parse(Evaluate, {"bundle": bundle.path, "data": {"test": tmp_path / "rows.jsonl"}}), tmp_path / "r"
    )
    assert report.manifest.scores["test"]["answer_f1"] == 1.0
    assert "None." in (report.path / "report.html").read_text(encoding="utf-8").split("Errors")[-1]


def test_rows_that_all_have_answers_need_no_threshold(finetune):
    bundle = finetune(ROWS[:2], steps=2)
    assert bundle.manifest.task["null_score_diff_threshold"] is None


def test_answers_that_are_a_character_off_are_refused_by_line_before_a_model_is_opened(finetune, tmp_path):
    rows = [ROWS[0] | {"answers": {"text": ["Paris"], "answer_start": [15]}}]
    with pytest.raises(DataError, match=r"rows.jsonl:1: answers: .*stands ' Pari'.*16"):
        finetune(rows)
    assert not (tmp_path / "out").exists()


def test_a_file_of_questions_is_known_by_itself_and_its_contradictions_are_told(tmp_path):
    file = write(tmp_path / "rows.jsonl", [*ROWS, ROWS[0] | {"answers": {"text": ["film"], "answer_start": [8]}}])
    told = check(Check(data=Data(file=file)))
    assert told.values["columns"]["context"] == "context"
    assert "1 texts have several answers: lines 1, 5 (different answers)" in told.text


def test_a_reader_is_not_compressed_unasked(finetune, tmp_path):
    from lathe.compress import Recipe as Compress
    from lathe.compress import run as compress

    bundle = finetune(ROWS, steps=1)
    data = {"train": tmp_path / "rows.jsonl"}
    with pytest.raises(BundleError, match="has the task answer; what can be compressed"):
        compress(parse(Compress, {"base": bundle.path, "data": data, "steps": [{"kind": "distill"}]}), tmp_path / "c")
    assert Bundle.open(bundle.path)
