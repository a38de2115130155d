"""Every kind of task that answers texts by labels, numbers or choices, from its rows to an answer over HTTP."""

import json
import re

import pytest
from starlette.testclient import TestClient
from transformers import AutoModelForMaskedLM

from lathe import load
from lathe.cli import main
from lathe.core.bundle import Bundle
from lathe.core.recipe import parse
from lathe.finetune import Recipe, run
from lathe.models.pretrained import new_model, open_config, save_model
from lathe.serve.app import build_app
from lathe.serve.schema import Answer
from lathe.serve.served import Models, Served

TEXTS = ["good film", "bad plot", "影片很好", "awful", "a great film in Paris is not bad at all", "很坏"]
GOOD = [True, False, True, False, True, False]
KINDS = {
    "pair": ({"kind": "classify"}, lambda good: {"text_pair": "the plot", "label": "yes" if good else "no"}),
    "windows": ({"kind": "classify", "max_length": 6, "stride": 1}, lambda good: {"label": str(good)}),
    "multilabel": (
        {"kind": "multilabel", "class_weights": "balanced"},
        lambda good: {"labels": ["g", "x"] if good else []},
    ),
    "score": ({"kind": "score"}, lambda good: {"text_pair": "the film", "score": 10.0 if good else 30.0}),
    "choose": (
        {"kind": "choose"},
        lambda good: {"choices": ["good", "bad", "film"] if good else ["bad", "good"], "label": int(not good)},
    ),
}
PROBLEMS = {
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "score": "regression",
    "choose": None,
}
SECTIONS = {
    "classify": ["By label", "Confusion", "Calibration"],
    "multilabel": ["By label"],
    "score": ["Predicted against wanted"],
    "choose": ["Calibration"],
}
ANSWERS = ("label", "labels", "score")


@pytest.fixture(params=list(KINDS))
def made(request, tmp_path, tokenizer, bert_config):
    """A model of some kind, and the rows that it was trained on."""
    task, answer = KINDS[request.param]
    rows = [{"text": text} | answer(good) for text, good in zip(TEXTS, GOOD, strict=True)] * 2
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")
    train = {"max_steps": 40, "batch_size": 6, "learning_rate": 0.01, "precision": "fp32", "eval_steps": 20}
    files = {"train": data, "validation": data, "test": data}
    return run(
        parse(Recipe, {"base": tmp_path / "base", "data": files, "task": task, "train": train}), tmp_path / "out"
    ), rows


def test_it_learns_its_rows_and_is_the_same_evaluated_predicted_and_served(made, tmp_path):
    bundle, rows = made
    task, learnt = bundle.manifest.task, bundle.manifest.scores["test"]
    assert next(iter(learnt.values())) > 0.9, learnt
    assert learnt.keys() == bundle.manifest.scores["test_baseline"].keys()

    asked = [{n: v for n, v in row.items() if n not in ANSWERS} for row in rows[:6]]
    model = load(bundle.path)
    answers = [one.to_json() for one in model(asked)]

    assert main(["evaluate", str(bundle.path), str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "report")]) == 0
    found = Bundle.open(tmp_path / "report").manifest.scores["test"]
    assert {name: found[name] for name in learnt} == pytest.approx(learnt)
    lines = [json.loads(line) for line in (tmp_path / "report/predictions.jsonl").read_text("utf-8").splitlines()]
    assert rounded([line["prediction"] for line in lines[:6]]) == rounded(answers)

    with TestClient(build_app(Models([Served("demo", "1", model)])), "http://localhost") as client:
        reply = client.post("/predict", json={"rows": asked})
        refused = client.post("/predict", json={"rows": [{"tokens": ["a"]}]})
    assert reply.json()["predictions"] == answers
    Answer.model_validate(reply.json())
    assert refused.status_code == 422

    problems = {
        "classify": "single_label_classification",
        "multilabel": "multi_label_classification",
        "score": "regression",
    }
    assert open_config(bundle.path).problem_type == problems.get(task["kind"])

    page = (bundle.path / "report.html").read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "What it reached",
        "Learning curves",
        *[f"{heading}, test rows" for heading in SECTIONS[task["kind"]]],
        "Rows",
        "The run",
    ]
    assert "<section></section>" not in page and "NaN" not in page and "nan" not in page
    assert "rows.jsonl: 12 of 12 rows ask what a row of rows.jsonl asks" in page
    assert page.count("12 (100.0%)</td>") == 2 and "0 (0.0%)" in page


def rounded(value):
    """The same with four digits in each number."""
    return json.loads(json.dumps(value), parse_float=lambda digits: round(float(digits), 4))
