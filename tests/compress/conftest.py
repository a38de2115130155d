"""A tiny teacher as a finished bundle, and rows for it."""

import json

import pytest
import torch

from lathe.compress import Recipe, report
from lathe.core.bundle import Manifest, seal
from lathe.core.measure import measure
from lathe.core.recipe import dump, parse
from lathe.models.pretrained import new_model, save_model
from lathe.tasks import Classify, Tag

TEXTS = [
    f"{first} {second} {third}"
    for first in ("good", "bad", "great", "awful")
    for second in ("film", "plot", "影片")
    for third in ("is not the", "in Paris a film", "很", "")
]


@pytest.fixture
def rows():
    return [{"text": text.strip(), "label": "neg" if text[0] in "ab" else "pos"} for text in TEXTS]


@pytest.fixture
def write(tmp_path):
    """Write rows as JSONL; returns the path."""

    def write_rows(name, rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write_rows


@pytest.fixture
def make_teacher(tmp_path, tokenizer, bert_config):
    """A bundle of a random model with decided opinions, for a task."""

    def make(task, name="teacher"):
        folder = tmp_path / name
        bert_config.id2label = dict(enumerate(task.outputs))
        model = new_model(task.auto_model, bert_config, seed=1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(15 if parameter.ndim == 2 else 1)
        runtime = save_model(model, tokenizer, folder)
        seal(folder, Manifest(kind="model", stage="finetune", task=dump(task), runtime=runtime))
        return folder

    return make


@pytest.fixture
def classify():
    return Classify(labels=("neg", "pos"), max_length=32)


@pytest.fixture
def tag():
    return Tag(labels=("LOC",), max_length=32)


@pytest.fixture
def teacher(make_teacher, classify):
    return make_teacher(classify)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Speeds are measured in no time."""
    monkeypatch.setattr(report, "measure", lambda predictor, rows: measure(predictor, rows[:4], budget_s=0.01))


@pytest.fixture
def recipe(teacher, write, rows):
    """A recipe of these steps, with options in place of the usual ones."""

    def make(*steps, **options):
        data = {"train": write("train.jsonl", rows), "validation": write("validation.jsonl", rows[::3])}
        data |= options.pop("data", {})
        return parse(Recipe, {"base": teacher, "data": data, "steps": list(steps)} | options)

    return make
