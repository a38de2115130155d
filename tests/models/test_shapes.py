"""Layers cut smaller: exact where nothing of worth goes, and the same model when opened again."""

import json

import pytest
import torch
import transformers as hf
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from lathe.core.errors import BundleError, RecipeError
from lathe.models.pretrained import new_model, open_model
from lathe.models.shapes import FAMILIES, SHAPE, describe, keep_layers, layers_of, refuse_other_family
from lathe.models.transformer import EncoderConfig

SIZES = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
COMMON = SIZES | {"intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 0, "num_labels": 3}
CONFIGS = {
    "bert": lambda: hf.BertConfig(**COMMON),
    "camembert": lambda: hf.CamembertConfig(**COMMON),
    "distilbert": lambda: hf.DistilBertConfig(
        vocab_size=40, dim=32, n_layers=3, n_heads=4, hidden_dim=48, pad_token_id=0, num_labels=3
    ),
    "electra": lambda: hf.ElectraConfig(**COMMON, embedding_size=16),
    "ernie": lambda: hf.ErnieConfig(**COMMON),
    "lathe-encoder": lambda: EncoderConfig(**COMMON, hidden_act="swiglu"),
    "modernbert": lambda: hf.ModernBertConfig(
        **COMMON,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        bos_token_id=1,
        cls_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
    ),
    "roberta": lambda: hf.RobertaConfig(**COMMON),
    "xlm-roberta": lambda: hf.XLMRobertaConfig(**COMMON),
}
INPUTS = {
    "input_ids": torch.tensor([[5, 9, 13, 7, 21, 6], [8, 30, 2, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]),
}


@pytest.fixture(params=sorted(CONFIGS))
def model(request):
    """Of each family that is named as known, with biases and weights that matter."""
    made = new_model(AutoModelForSequenceClassification, CONFIGS[request.param](), seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return made


def logits(model):
    with torch.no_grad():
        return model.eval()(**INPUTS).logits


def cut_unevenly(model):
    for layer, heads, neurons in zip(layers_of(model), ([2], [0, 1, 3], [0, 1, 2, 3]), (16, 48, 32), strict=True):
        layer.keep_heads(heads)
        layer.keep_neurons(range(neurons))
    describe(model)


def test_every_known_family_is_tested():
    assert sorted(CONFIGS) == sorted(FAMILIES)


def test_keeping_everything_changes_nothing(model):
    before, told = logits(model), model.config.to_dict()
    for layer in layers_of(model):
        layer.keep_heads(range(4))
        layer.keep_neurons(range(48))
    describe(model)
    assert torch.equal(logits(model), before)
    assert model.config.to_dict() == told


def test_heads_and_neurons_that_add_nothing_go_without_a_trace(model):
    for layer in layers_of(model):
        with torch.no_grad():
            layer.linear(layer.family.context).weight.view(32, 4, 8)[:, [0, 2]] = 0
            layer.linear(layer.family.outer).weight[:, ::3] = 0
    before, parameters = logits(model), model.num_parameters()
    for layer in layers_of(model):
        layer.keep_heads([1, 3])
        layer.keep_neurons([i for i in range(48) if i % 3])
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-5)
    assert [(layer.heads, layer.neurons) for layer in layers_of(model)] == [(2, 32)] * 3
    assert model.num_parameters() < parameters


def test_uneven_layers_open_again_with_equal_logits(model, tmp_path):
    cut_unevenly(model)
    model.save_pretrained(tmp_path)
    opened = open_model(AutoModelForSequenceClassification, tmp_path)
    assert (opened.new, opened.unused) == ((), ())
    assert type(opened.model) is type(model)
    assert torch.equal(logits(opened.model), logits(model))
    assert json.loads((tmp_path / "config.json").read_text())[SHAPE] == {"heads": [1, 3, 4], "neurons": [16, 48, 32]}


def test_transformers_alone_refuses_what_it_cannot_read(model, tmp_path):
    cut_unevenly(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_layers_of_equal_width_are_a_standard_checkpoint(model, tmp_path):
    keep_layers(model, [0, 2])
    for layer in layers_of(model):
        layer.keep_neurons(range(16))
    describe(model)
    model.save_pretrained(tmp_path)
    assert not hasattr(model.config, SHAPE)
    standard = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(logits(standard), logits(model))


def test_uneven_layers_are_left_out_with_their_sizes(model, tmp_path):
    cut_unevenly(model)
    keep_layers(model, [0, 2])
    model.save_pretrained(tmp_path)
    assert getattr(model.config, SHAPE)["heads"] == [1, 4]
    assert torch.equal(logits(open_model(AutoModelForSequenceClassification, tmp_path).model), logits(model))


def test_another_head_goes_onto_a_cut_body(model, tmp_path):
    cut_unevenly(model)
    model.save_pretrained(tmp_path)
    opened = open_model(AutoModelForTokenClassification, tmp_path, ("O", "B-LOC", "I-LOC"))
    body = opened.model.base_model.state_dict()
    assert not any(name.startswith(model.base_model_prefix + ".") for name in opened.new)
    assert all(torch.equal(body[name], kept) for name, kept in model.base_model.state_dict().items() if name in body)


def test_a_new_model_of_a_described_shape_has_it(bert_config):
    setattr(bert_config, SHAPE, {"heads": [1, 2]})
    assert [layer.heads for layer in layers_of(new_model(AutoModelForSequenceClassification, bert_config, 0))] == [1, 2]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"heads": [1]}, "heads: .* is not of 2 layers of at most 2"),
        ({"heads": [1, 3]}, "heads: .* is not of 2 layers of at most 2"),
        ({"neurons": [32, 33]}, "neurons: .* is not of 2 layers of at most 32"),
        ({"heads": [0, 1]}, "lathe_shape: heads"),
        ({"knees": [1, 1]}, "knees"),
        ("small", "lathe_shape"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(bert_config, tmp_path, told, message):
    new_model(AutoModelForSequenceClassification, bert_config, seed=0).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {SHAPE: told}))
    with pytest.raises(BundleError, match=message):
        open_model(AutoModelForSequenceClassification, tmp_path)


@pytest.mark.parametrize("config", [hf.AlbertConfig(), hf.GPT2Config(), EncoderConfig(num_key_value_heads=2)])
def test_other_families_are_refused_with_the_way_out(config):
    with pytest.raises(RecipeError, match="distil instead"):
        refuse_other_family(config, "distil instead")
