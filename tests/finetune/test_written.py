"""Tasks whose answers are written, as a user starts them: new models that learn a few rows by heart, and say them."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from lathe import load
from lathe.core.errors import RecipeError
from lathe.core.recipe import parse
from lathe.core.work import read_log
from lathe.evaluate import Recipe as EvaluateRecipe
from lathe.evaluate import run as evaluate
from lathe.finetune import Recipe, run
from lathe.tasks import Transform
from lathe.tokenizer.algorithms import ByteBPE, train_tokenizer

PAIRS = [("good film", "guter Film"), ("bad film", "schlechter Film"), ("很好", "very good"), ("a dog", "一只狗"),
         ("two men", "zwei Männer"), ("she sings", "sie singt"), ("北京", "Peking"), ("no", "nein")]  # fmt: skip


@pytest.fixture
def words(tmp_path):
    texts = [text for pair in PAIRS for text in pair] + ["user:\n", "assistant:\n"]
    train_tokenizer(ByteBPE(min_frequency=1), texts, 400).save_pretrained(tmp_path / "words")
    return tmp_path / "words"


def written(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path):
    return written(tmp_path / "pairs.jsonl", [{"source": source, "target": target} for source, target in PAIRS])


def recipe(words, rows, task, shape, **changes):
    values = {
        "tokenizer": words,
        "model": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2} | shape,
        "data": {"train": rows, "validation": rows, "test": rows},
        "task": task,
        "train": {"epochs": 60, "batch_size": 8, "learning_rate": 0.01, "precision": "fp32", "eval_steps": 60}
        | {"ema_decay": 0.8},
    }
    return parse(Recipe, values | changes)


PAIR = {"kind": "transformer", "architecture": "encoder-decoder"}
DECODER = {"kind": "llama", "intermediate_size": 64}


def test_a_new_model_learns_pairs_by_heart_and_says_them_wherever_it_is_asked(words, pairs, tmp_path):
    task = {"kind": "transform", "metric": "chrf", "generation": {"max_new_tokens": 16}}
    made = run(recipe(words, pairs, task, PAIR), tmp_path / "out")
    scores = made.manifest.scores
    assert scores["test"]["chrf"] == pytest.approx(100)
    assert scores["test_baseline"]["chrf"] < 50
    (line,) = [line for line in read_log(made.path) if line["event"] == "evaluation"]
    assert 0 < line["loss"] < 0.5
    assert [answer.text for answer in load(made.path)([source for source, _ in PAIRS])] == [text for _, text in PAIRS]
    assert AutoModelForSeq2SeqLM.from_pretrained(made.path).config.model_type == "lathe-encoder-decoder"
    report = evaluate(parse(EvaluateRecipe, {"bundle": made.path, "data": {"test": pairs}}), tmp_path / "report")
    assert report.manifest.scores["test"]["chrf"] == pytest.approx(100)


def test_a_new_assistant_learns_answers_by_heart_and_keeps_its_template(words, tmp_path):
    turns = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in PAIRS]
    rows = written(tmp_path / "chats.jsonl", [{"messages": one} for one in [*turns, turns[0] + turns[1]]])
    task = {"kind": "chat", "max_length": 64, "generation": {"max_new_tokens": 16}}
    made = run(recipe(words, rows, task, DECODER), tmp_path / "out")
    assert made.manifest.scores["test"]["chrf"] == pytest.approx(100)
    assert "chat_template.jinja" in made.manifest.runtime.files
    model = load(made.path)
    assert model(["很好"])[0].text == "very good"
    assert model([{"messages": [*turns[0], turns[1][0]]}])[0].text == "schlechter Film"
    assert AutoModelForCausalLM.from_pretrained(made.path).config.model_type == "llama"
    report = evaluate(parse(EvaluateRecipe, {"bundle": made.path, "data": {"test": rows}}), tmp_path / "report")
    told = json.loads((report.path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert told["messages"] == [*turns[0], turns[1][0]]
    assert told["prediction"] == {"text": "schlechter Film"}


def test_the_loss_is_of_all_validation_rows_and_the_metric_of_a_sample_that_is_said(words, pairs, tmp_path, capsys):
    task = {"kind": "transform", "metric": "chrf", "generation": {"max_new_tokens": 4, "decoding": {"kind": "greedy"}}}
    short = {"epochs": 2, "batch_size": 4, "max_eval_samples": 3, "precision": "fp32"}
    made = run(recipe(words, pairs, task, PAIR, train=short), tmp_path / "out")
    assert "between steps 3 of 8 validation rows are answered" in capsys.readouterr().err
    assert [line["step"] for line in read_log(made.path) if line["event"] == "evaluation"] == [2, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "words"}, "give `base` .*, or `model` and `tokenizer`"),
        ({"tokenizer": None}, "give `base` .*, or `model` and `tokenizer`"),
        ({"model": {"kind": "bert"}}, "task.kind: transform does not fit a model of type 'bert'"),
        ({"model": {"kind": "bert"}, "task": {"kind": "chat"}}, "task.kind: chat needs a model that reads from left"),
    ],
)
def test_what_cannot_begin_is_refused_before_a_row_is_read(
    words, pairs, tmp_path, monkeypatch, capsys, changes, message
):
    monkeypatch.chdir(tmp_path)
    changes = {"task": {"kind": "transform"}} | changes
    with pytest.raises(RecipeError, match=message):
        run(recipe(words, pairs, changes.pop("task"), PAIR, **changes), tmp_path / "out")
    assert "rows" not in capsys.readouterr().err


def test_an_encoder_cannot_be_gone_on_from_to_write(tokenizer, bert_config, pairs, tmp_path):
    AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    values = {"base": tmp_path / "base", "data": {"train": pairs}, "task": {"kind": "transform"}}
    with pytest.raises(RecipeError, match="transformers has no AutoModelForSeq2SeqLM for it"):
        run(parse(Recipe, values), tmp_path / "out")


def test_a_model_that_is_made_anew_depends_on_its_seed_alone(words, pairs, tmp_path):
    torch.manual_seed(123)
    task = {"kind": "transform", "metric": "chrf", "generation": {"max_new_tokens": 2}}
    short = {"epochs": 1, "batch_size": 8, "precision": "fp32"}
    made = [run(recipe(words, pairs, task, PAIR, train=short), tmp_path / name) for name in ("a", "b")]
    first, second = (Transform.auto_model.from_pretrained(one.path).state_dict() for one in made)
    assert all(torch.equal(first[name], second[name]) for name in first)
