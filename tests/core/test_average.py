"""The average of the weights: the formula, the exchange, and what of it a run scores, saves and resumes."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from lathe import load
from lathe.core import learn
from lathe.core.average import UPDATES, Average
from lathe.core.batches import StepBatches
from lathe.core.digest import file_digest
from lathe.core.recipe import parse
from lathe.core.types import Batch, Part
from lathe.core.work import read_log
from lathe.finetune import Recipe, run

DECAY = 0.8


def reference(history, decay):
    """The definition: a sum of all weights so far, weight k steps ago times decay^k, over the sum of the factors."""
    factors = [decay**age for age in reversed(range(len(history)))]
    return {
        name: sum(f * weights[name].double() for f, weights in zip(factors, history, strict=True)) / sum(factors)
        for name in history[0]
    }


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_it_equals_its_definition_and_forgets_the_weights_before_the_first_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    average, history = Average(model, DECAY), []
    for _ in range(7):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
        average.update()
        history.append(weights_of(model))
        expected = reference(history, DECAY)
        with average.in_place():
            for name, mean in weights_of(model).items():
                torch.testing.assert_close(mean.double(), expected[name], rtol=1e-6, atol=1e-6)


def test_the_exchange_comes_back_bit_for_bit_also_after_an_error():
    model = nn.Linear(3, 4)
    before, average = weights_of(model), Average(model, DECAY)
    average.update()
    with torch.no_grad():
        model.weight.add_(1)
    changed = weights_of(model)
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert all(torch.equal(a, b) for a, b in zip(weights_of(model).values(), before.values(), strict=True))
        raise ZeroDivisionError
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model).values(), changed.values(), strict=True))


def test_frozen_weights_are_left_alone():
    model = nn.Linear(3, 4)
    model.bias.requires_grad_(False)
    average, place = Average(model, DECAY), model.bias.data_ptr()
    average.update()
    assert set(average.tensors()) == {"weight", UPDATES}
    with average.in_place():
        assert model.bias.data_ptr() == place


class Line:
    """Sum of the outputs."""

    def loss(self, model, batch):
        return [Part("sum", model(batch.inputs["x"]).sum(), 1)]


def test_a_step_that_was_passed_over_is_not_averaged():
    config = learn.Train(learning_rate=0.1, precision="fp32", warmup_ratio=0, max_bad_steps=1)
    model = nn.Linear(1, 1)
    state = learn.State(config.optimizer(model), average=Average(model, DECAY))
    steps = [StepBatches(0, (Batch({"x": torch.tensor([[x]])}, {}, {"sum": 1}),), np.arange(1), 1)
             for x in (1.0, float("nan"), 2.0)]  # fmt: skip
    history = [
        weights_of(model) for step in learn.train(model, Line(), steps, config, 3, state) if step.loss == step.loss
    ]
    assert int(state.average.tensors()[UPDATES]) == len(history) == 2
    expected = reference(history, DECAY)
    torch.testing.assert_close(state.average.tensors()["weight"].double(), expected["weight"], rtol=1e-6, atol=1e-6)


@pytest.fixture
def recipe(tmp_path, tokenizer, bert_config):
    torch.manual_seed(0)
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = [{"text": f"{t} {i}", "label": label} for i in range(12) for t, label in (("good film", "p"), ("bad", "n"))]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")

    def make(**changes) -> Recipe:
        train = {"max_steps": 9, "batch_size": 8, "learning_rate": 0.01, "precision": "fp32", "save_steps": 2}
        data = {name: tmp_path / f"{name}.jsonl" for name in ("train", "validation")}
        values = {"base": tmp_path / "base", "data": data, "task": {"kind": "classify"}}
        return parse(Recipe, values | {"train": train | {"eval_steps": 3, "ema_decay": DECAY} | changes})

    return make


def test_a_run_scores_and_saves_the_average_of_its_steps(recipe, tmp_path, monkeypatch):
    history, taken = [], learn.train_step

    def remember(model, *arguments):
        step = taken(model, *arguments)
        history.append(weights_of(model))
        return step

    monkeypatch.setattr(learn, "train_step", remember)
    bundle = run(recipe(), tmp_path / "out")
    scores = bundle.manifest.scores
    saved = {scores["best_step"]: bundle.path, scores["steps"]: bundle.path / "last"}
    if scores["best_step"] == scores["steps"]:
        saved[scores["steps"]] = bundle.path
    for step, folder in saved.items():
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        expected = reference(history[:step], DECAY)
        assert any(not torch.equal(history[step - 1][name], weight) for name, weight in model.named_parameters())
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight.detach().double(), expected[name], rtol=1e-5, atol=1e-6)
    answers = load(bundle.path)([f"{text} {i}" for i in range(12) for text in ("good film", "bad")])
    right = [answer.label == label for answer, label in zip(answers, ["p", "n"] * 12, strict=True)]
    assert scores["validation"]["accuracy"] == pytest.approx(sum(right) / len(right))
    best = max(line["accuracy"] for line in read_log(bundle.path) if line["event"] == "evaluation")
    assert scores["validation"]["accuracy"] == best


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_a_run_that_was_stopped_ends_with_the_same_bits(recipe, tmp_path, stopped_after, stop_at):
    whole = run(recipe(), tmp_path / "whole")
    with stopped_after(stop_at):
        run(recipe(), tmp_path / "cut")
    cut = run(recipe(), tmp_path / "cut")
    files = sorted(file.relative_to(whole.path) for file in whole.path.rglob("model.safetensors"))
    assert files == sorted(file.relative_to(cut.path) for file in cut.path.rglob("model.safetensors"))
    assert all(file_digest(cut.path / file) == file_digest(whole.path / file) for file in files)


def test_the_steps_themselves_do_not_see_the_average(recipe, tmp_path):
    logs = [read_log(run(recipe(ema_decay=decay), tmp_path / str(decay)).path) for decay in (None, DECAY)]
    losses = [[line["loss"] for line in log if line["event"] == "step"] for log in logs]
    assert losses[0] == losses[1]
