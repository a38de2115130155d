"""Activation checkpointing: less is kept, nothing else changes, and a family that cannot says so."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import transformers as hf

from lathe.core import packing
from lathe.core.digest import file_digest
from lathe.core.errors import RecipeError
from lathe.core.recipe import parse
from lathe.core.recompute import keep_activations, recompute_layers
from lathe.finetune import Recipe, run


@contextmanager
def kept_bytes(kept: dict[int, int]) -> Iterator[None]:
    """Bytes of the storages that the graph keeps for the backward pass, by address."""

    def remember(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        yield


@pytest.mark.parametrize("packed", [True, False])
def test_fewer_bytes_are_kept_for_the_backward_pass(bert_config, packed):
    bert_config.num_hidden_layers = 6
    model = hf.BertModel(bert_config, add_pooling_layer=False).train()
    if packed:
        packing.enable(model)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = []
    for setup in (lambda _: None, recompute_layers, keep_activations):
        setup(model)
        kept: dict[int, int] = {}
        with kept_bytes(kept):
            out = model(input_ids=torch.arange(32).view(2, 16) % 20 + 5, attention_mask=torch.ones(2, 16))
        sizes.append(sum(size for place, size in kept.items() if place not in weights))
        del out
    assert sizes[1] < sizes[0] / 4
    assert sizes[2] == sizes[0]


@pytest.mark.parametrize(
    "config",
    [
        hf.AlbertConfig(vocab_size=30, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=16),
        hf.XLNetConfig(vocab_size=30, d_model=16, n_layer=1, n_head=2, d_inner=16),
    ],
)
def test_a_family_that_does_not_support_it_is_refused(config):
    with pytest.raises(RecipeError, match=f"train.gradient_checkpointing: models of type '{config.model_type}' do not"):
        recompute_layers(hf.AutoModel.from_config(config))


def test_a_run_ends_with_the_same_bits(tmp_path, tokenizer, bert_config):
    torch.manual_seed(0)
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    hf.AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = [{"text": f"{t} {i}", "label": label} for i in range(9) for t, label in (("good film", "p"), ("bad", "n"))]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "base": tmp_path / "base",
        "data": dict.fromkeys(("train", "validation"), tmp_path / "train.jsonl"),
        "task": {"kind": "classify"},
    }
    digests = []
    for name in (False, True):
        train = {"max_steps": 4, "batch_size": 8, "precision": "fp32", "gradient_checkpointing": name}
        bundle = run(parse(Recipe, values | {"train": train}), tmp_path / str(name))
        digests.append([file_digest(bundle.path / file) for file in ("model.safetensors", "config.json")])
    assert digests[0] == digests[1]
