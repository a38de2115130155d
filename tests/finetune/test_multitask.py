"""Several tasks in one model: each as good as alone, one body, turns by shares, and what is refused."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM

from lathe.core.bundle import Bundle
from lathe.core.digest import file_digest
from lathe.core.recipe import parse
from lathe.finetune import Recipe as Single
from lathe.finetune import run as finetune
from lathe.finetune.multitask import Recipe, run
from lathe.models.pretrained import new_model, save_model

FILMS = [("good film", "pos"), ("great plot", "pos"), ("bad film", "neg"), ("awful plot", "neg")]
PLACES = [
    {"text": "影片在北京很好", "spans": [{"start": 3, "end": 5, "label": "LOC"}]},
    {"text": "北京不好", "spans": [{"start": 0, "end": 2, "label": "LOC"}]},
    {"text": "很好", "spans": []},
    {"text": "影片不坏", "spans": []},
]


@pytest.fixture
def base(tmp_path, tokenizer, bert_config) -> Path:
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")
    return tmp_path / "base"


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def films(tmp_path) -> Path:
    rows = [{"text": f"{text} {word}", "label": label} for word in ("the", "a", "is", "in") for text, label in FILMS]
    return write(tmp_path / "films.jsonl", rows)


@pytest.fixture
def places(tmp_path) -> Path:
    return write(tmp_path / "places.jsonl", PLACES * 2)


OPTIONS = {"max_steps": 12, "batch_size": 4, "learning_rate": 0.01, "precision": "fp32", "save_steps": 2}


@pytest.fixture
def recipe(base, films, places):
    def make(**changes) -> Recipe:
        tasks = {
            "sentiment": {"task": {"kind": "classify"}, "data": {"train": films, "validation": films}},
            "places": {"task": {"kind": "tag"}, "data": {"train": places, "validation": places}},
        }
        train = OPTIONS | {"eval_steps": 4} | changes.pop("train", {})
        return parse(Recipe, {"base": base, "tasks": tasks, "train": train} | changes)

    return make


@pytest.mark.parametrize("kind", ["films", "places"])
@pytest.mark.parametrize("adapt", ["full", "lora"])
def test_one_task_alone_is_trained_to_the_bits_of_finetune(kind, adapt, base, request, tmp_path):
    if adapt == "lora":
        pytest.importorskip("peft")
    part = {"task": {"kind": {"films": "classify", "places": "tag"}[kind]}}
    part["data"] = {"train": request.getfixturevalue(kind)}
    part["data"]["validation"] = part["data"]["train"]
    common = {"base": base, "adapt": adapt, "train": OPTIONS}
    alone = finetune(parse(Single, common | part), tmp_path / "alone")
    many = run(parse(Recipe, common | {"tasks": {"it": part}}), tmp_path / "many")
    assert file_digest(many.path / "it/model.safetensors") == file_digest(alone.path / "model.safetensors")
    assert Bundle.open(many.path / "it").manifest.scores == alone.manifest.scores
