"""What hurts users of other toolkits, each pain a test named after the failure."""

import json
import re

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, DistilBertConfig

from lathe.cli import main
from lathe.core.predictor import TaskPredictor
from lathe.core.types import Symbols
from lathe.models.pretrained import new_model, open_model, open_tokenizer, save_model
from lathe.tasks import Choose, Classify, MultiLabel


def collated(task, encoded, tokenizer):
    """One batch of some rows."""
    return task.collate(encoded, np.zeros(len(encoded), np.uint64), Symbols.of(tokenizer))


# ----------------------------------------------------------------------------------------------------- classification
def test_class_weights_make_the_step_depend_on_how_it_is_cut():
    """transformers #47688 and PyTorch's mean by weights: the parts of a step do not add up to the step."""
    task = Classify(labels=("a", "b"), class_weights={"b": 9.0})
    logits, labels = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 1])
    halves = [task.losses(logits[half], labels[half]).sum() for half in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(task.losses(logits, labels).sum(), sum(halves))
    theirs = torch.nn.CrossEntropyLoss(torch.tensor([1.0, 9.0]))
    assert abs(theirs(logits, labels) - (theirs(logits[:2], labels[:2]) + theirs(logits[2:], labels[2:])) / 2) > 1e-3


def test_what_stands_behind_the_longest_input_is_never_seen(tokenizer):
    """transformers #14631, #15177, simpletransformers #227: a text is classified by its first 512 tokens."""
    asked = tokenizer.convert_tokens_to_ids("awful")

    def forward(inputs):
        there = (inputs["input_ids"] == asked).any(-1).float()
        return {"logits": torch.stack([20 * there, 1 - there], -1)}

    text = "good film " * 40 + "awful"
    read, cut = (
        TaskPredictor(Classify(labels=("neg", "pos"), max_length=16, stride=stride), tokenizer, forward)([text])[0]
        for stride in (4, None)
    )
    assert (read.label, cut.label) == ("neg", "pos")


def test_token_types_break_models_that_have_none(tokenizer, tmp_path):
    """A DistilBERT saved beside a tokenizer of BERT's: `token_type_ids` is an unexpected keyword argument."""
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    save_model(new_model(AutoModelForMaskedLM, config, seed=0), tokenizer, tmp_path / "base")
    task, found = Classify(labels=("no", "yes")), open_tokenizer(tmp_path / "base")
    encoded = task.encode([{"text": "good", "text_pair": "bad", "label": "no"}], found)
    model = open_model(task.auto_model, tmp_path / "base", task.outputs).model
    assert torch.isfinite(task.loss(model, collated(task, encoded, found))[0].total)


def test_padding_choices_take_part_in_the_softmax(tokenizer):
    """Rows with two and with five choices: the two share all of the probability."""
    rows = [
        {"text": "a film", "choices": ("good", "bad")},
        {"text": "a film", "choices": ("good", "bad", "a", "is", "not")},
    ]
    encoded = Choose().encode(rows, tokenizer)
    first, _ = Choose().decode({"logits": torch.zeros(7, 1)}, encoded, tokenizer)
    assert first.scores == (0.5, 0.5)


def test_a_row_with_no_label_at_all_is_dropped_or_breaks_training(tokenizer):
    task = MultiLabel(labels=("a", "b"))
    (encoded,) = task.encode([{"text": "good", "labels": ()}], tokenizer)
    assert collated(task, [encoded], tokenizer).items == {"multilabel": 2}


# -------------------------------------------------------------------------------- bad rows, before any model is loaded
X, Y = ({"text": text, "label": label} for text, label in ("ax", "by"))


def choosing(choices, label):
    return {"text": "a", "choices": choices, "label": label}


@pytest.mark.parametrize(
    ("task", "rows", "told"),
    [
        ({"kind": "classify"}, [X, {"text": "b", "label": ""}], r"the labels are \('x',\): there is nothing to tell"),
        (
            {"kind": "classify", "class_weights": {"X": 2}},
            [X, Y],
            r"task\.class_weights: 'X' is not one of x, y",
        ),
        ({"kind": "classify", "class_weights": {"x": 0}}, [X, Y], r"class_weights.*greater than 0"),
        ({"kind": "classify", "pair": True}, [X, Y], r"no column for text_pair; the columns are"),
        ({"kind": "classify", "stride": 30}, [X, Y], r"task\.stride: windows that have 30 tokens .* overlap by 30"),
        ({"kind": "multilabel"}, [{"text": "a", "labels": []}], r"the labels are \(\): there is nothing to tell apart"),
        ({"kind": "multilabel"}, [{"text": "a", "labels": "x, y"}], r"several labels, or one\?.*write a list"),
        ({"kind": "multilabel", "threshold": 1}, [{"text": "a", "labels": ["x"]}], r"threshold.*less than 1"),
        ({"kind": "score"}, [{"text": "a", "score": "high"}], r"rows\.jsonl:1.*score.*high"),
        ({"kind": "score"}, [{"text": "a", "score": None}], r"rows\.jsonl:1.*the score is missing"),
        ({"kind": "choose"}, [choosing(["b"], 0)], r"1 choices: there is nothing to choose"),
        ({"kind": "choose"}, [choosing(["b", "c"], 2)], r"there is no choice 2"),
        ({"kind": "choose", "stride": 4}, [choosing(["b", "c"], 1)], r"stride: no such option"),
    ],
)
def test_bad_rows_and_options_fail_late_with_a_traceback(task, rows, told, tmp_path, tokenizer, bert_config, capsys):
    """LlamaFactory #5503, autotrain #71, #101: here before a model is loaded, with the place and the way out."""
    bert_config.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base/model.safetensors").write_bytes(b"not weights: whoever opens them fails")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(
        'verb = "finetune"\n[task]\n' + "".join(f"{n} = {toml(v)}\n" for n, v in task.items()), encoding="utf-8"
    )
    given = [str(tmp_path / "recipe.toml"), f"base={tmp_path / 'base'}", f"data.train={tmp_path / 'rows.jsonl'}"]
    assert main(["finetune", *given, "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said, re.DOTALL), said
    assert "Traceback" not in said


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)
