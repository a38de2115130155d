"""Relations and events from a file of rows to an answer over HTTP."""

import json
import random

import pytest
from starlette.testclient import TestClient
from transformers import AutoModelForMaskedLM

from lathe import load
from lathe.cli import main
from lathe.core.bundle import Bundle
from lathe.core.recipe import parse
from lathe.finetune import Recipe, run
from lathe.inspect import check
from lathe.models.pretrained import new_model, save_model
from lathe.serve.app import build_app
from lathe.serve.schema import Answer
from lathe.serve.served import Models, Served


def place(text, word, **named):
    return {"start": text.index(word), "end": text.index(word) + len(word)} | named


def related(text, head, tail, label):
    spans = [place(text, head, label="ART"), place(text, tail, label="LOC")]
    return {"text": text, "spans": spans, "relations": [{"head": 0, "tail": 1, "label": label}] if label else []}


RELATED = [
    related("good film in Paris", "film", "Paris", "in"),
    related("北京很好 film", "film", "北京", "in"),
    related("Paris is not a film", "film", "Paris", None),
    related("影片在Paris", "影片", "Paris", "in"),
    related("the bad plot is not in 北京", "plot", "北京", None),
]


def happens(text, trigger, kind, **roles):
    arguments = [place(text, word, role=role) for role, word in roles.items()]
    return {"text": text, "events": [{"type": kind, "trigger": place(text, trigger), "arguments": arguments}]}


EVENTS = [
    happens("great film in Paris", "film", "Play", Place="Paris"),
    happens("北京很好", "很好", "Show", What="北京"),
    happens("Paris is a bad plot", "plot", "Show", What="Paris"),
    {"text": "影片 is not good", "events": []},
]
KINDS = {
    "event": ({"kind": "event"}, EVENTS, ("text",)),
    "relate": ({"kind": "relate"}, RELATED, ("text", "spans")),
    "relate find": ({"kind": "relate", "entities": "find"}, RELATED, ("text",)),
}


@pytest.fixture
def base(tmp_path, tokenizer, bert_config):
    tokenizer.add_tokens([*"@#*"])
    bert_config.vocab_size = len(tokenizer)
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture(params=list(KINDS))
def made(request, tmp_path, base):
    """A model of some kind, and what is sent to it."""
    task, rows, sent = KINDS[request.param]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows * 2), encoding="utf-8")
    train = {"max_steps": 30, "batch_size": 12, "learning_rate": 0.02, "precision": "fp32", "eval_steps": 15}
    files = {"train": data, "validation": data, "test": data}
    bundle = run(parse(Recipe, {"base": base, "data": files, "task": task, "train": train}), tmp_path / "out")
    return bundle, [{name: row[name] for name in sent} for row in rows]


def test_it_learns_its_rows_and_is_the_same_evaluated_predicted_and_served(made, tmp_path):
    bundle, asked = made
    learnt = bundle.manifest.scores["test"]
    assert next(iter(learnt.values())) == 1, learnt
    assert learnt.keys() == bundle.manifest.scores["test_baseline"].keys()

    model = load(bundle.path)
    answers = [one.to_json() for one in model(asked)]
    assert main(["evaluate", str(bundle.path), str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "report")]) == 0
    report = Bundle.open(tmp_path / "report").manifest
    assert {name: report.scores["test"][name] for name in learnt} == pytest.approx(learnt)
    lines = [json.loads(line) for line in (tmp_path / "report/predictions.jsonl").read_text("utf-8").splitlines()]
    assert rounded([line["prediction"] for line in lines[: len(asked)]]) == rounded(answers)
    scores = json.loads((tmp_path / "report/scores.json").read_text("utf-8"))
    assert {report["f1"] for report in scores["by_label"].values()} == {1}

    with TestClient(build_app(Models([Served("demo", "1", model)])), "http://localhost") as client:
        reply = client.post("/predict", json={"rows": asked})
        refused = client.post("/predict", json={"rows": [{"context": "a", "question": "b"}]})
    assert rounded(reply.json()["predictions"]) == rounded(answers)
    Answer.model_validate(reply.json())
    assert refused.status_code == 422


def rounded(value):
    """The same with four digits in each number."""
    return json.loads(json.dumps(value), parse_float=lambda digits: round(float(digits), 4))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_rare_trigger_in_long_texts_is_found(seed, tmp_path, tokenizer, bert_config):
    """A deep encoder whose head begins at chance makes all words alike on the way to "outside", and finds nothing."""
    tokenizer.add_tokens([*"@#*"])
    bert_config.update({"vocab_size": len(tokenizer), "num_hidden_layers": 6, "hidden_size": 32})
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")
    draw = random.Random(0)
    rows = []
    for number in range(48):
        words = draw.choices(["bad", "great", "awful", "plot", "the", "a", "is", "not"], k=28)
        trigger, kind = [("good", "Show"), ("film", "Play")][number % 2]
        words[draw.randrange(28)] = trigger
        rows.append(happens(" ".join(words), trigger, kind))
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train = {"max_steps": 20, "batch_size": 16, "learning_rate": 0.01, "precision": "fp32", "eval_steps": 20}
    files, task = {"train": data, "validation": data}, {"kind": "event"}
    values = {"base": tmp_path / "base", "data": files, "task": task, "train": train | {"seed": seed}}
    made = run(parse(Recipe, values), tmp_path / "out")
    assert made.manifest.scores["validation"]["trigger_f1"] > 0.9


@pytest.mark.parametrize("name", ["relate", "relate find"])
def test_a_check_shows_the_marks_and_what_is_learnt_at_them(name, tmp_path, base):
    task, rows, _ = KINDS[name]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    told = check.run(parse(check.Recipe, {"data": {"file": file}, "base": base, "task": task, "examples": 1}))
    parts = told.values["examples"][0]["parts"]
    (pair,) = parts[-2]["sequences"]
    assert " ".join(pair["pieces"][1:-1]) == "good @ * [UNK] * film @ in # * [UNK] * Paris #"
    assert [name for name in pair["places"]["labels"] if name] == ["head:in", "tail:in"]
    assert len(parts) == (3 if name == "relate find" else 2)
