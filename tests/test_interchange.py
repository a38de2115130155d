"""Interchange: every shape under every head it has opens in transformers, and what transformers made opens here."""

from dataclasses import fields
from typing import get_args

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lathe.core.fit import quicken
from lathe.core.recipe import parse
from lathe.inspect.adopt import Recipe as Adopt
from lathe.inspect.adopt import run as adopt
from lathe.models import AnyModel, FromConfig
from lathe.models.pretrained import new_model, open_model, save_model

HEADS = (
    AutoModelForMaskedLM,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
SMALL = {
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "embedding_size", "intermediate_size"], 32),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "num_layers", "encoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "num_heads", "num_key_value_heads"], 2),
}
SHAPES = [member for member in get_args(get_args(AnyModel)[0]) if member is not FromConfig]
TEXTS = ["the film is good", "影片很好", "a great film in Paris not the awful plot"]


def config_of(member, tokenizer):
    names = {field.name for field in fields(member)}
    return parse(member, {name: value for name, value in SMALL.items() if name in names}).config(tokenizer)


PAIRS = [
    pytest.param(member, head, id=f"{member.__name__}-{head.__name__.removeprefix('AutoModelFor')}")
    for member in SHAPES
    for head in HEADS
]


def logits(model, tokenizer):
    """Of every real position, or of every row; each row by itself, so that no padding has a part in it."""
    model.eval()
    rows = [torch.tensor([ids]) for ids in tokenizer(TEXTS)["input_ids"]]
    names = ["input_ids", *(["decoder_input_ids"] if model.config.is_encoder_decoder else [])]
    with torch.no_grad():
        return [model(**dict.fromkeys(names, row), attention_mask=torch.ones_like(row)).logits for row in rows]


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("member", "head"), PAIRS)
def test_a_checkpoint_opens_in_transformers_with_equal_logits(member, head, tmp_path, tokenizer):
    """As it runs in training, fused and packed, against what transformers opens."""
    config = config_of(member, tokenizer)
    if type(config) not in head._model_mapping:
        pytest.skip("there is no such head")
    model = new_model(head, config, seed=3)
    quicken(model)
    ours = logits(model, tokenizer)
    save_model(model, tokenizer, tmp_path / "model")
    opened, about = head.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not about["missing_keys"]
    assert not about["unexpected_keys"]
    assert_equal(logits(opened, tokenizer), ours)


@pytest.mark.parametrize(("member", "head"), PAIRS)
def test_a_checkpoint_of_transformers_opens_here_and_is_adopted(member, head, tmp_path, tokenizer):
    config = config_of(member, tokenizer)
    if type(config) not in head._model_mapping:
        pytest.skip("there is no such head")
    torch.manual_seed(4)
    theirs = head.from_config(config)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    adopted = adopt(Adopt(folder=tmp_path / "theirs"), tmp_path / "adopted")
    opened = open_model(head, adopted.path)
    assert not opened.new
    assert not opened.unused
    assert_equal(logits(opened.model, tokenizer), logits(theirs, tokenizer))
