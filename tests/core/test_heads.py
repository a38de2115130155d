"""Several models with one body."""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lathe.core import fit, packing, tables
from lathe.core.batches import StepBatches
from lathe.core.heads import Heads, networks_of
from lathe.core.learn import State, Train, train_step
from lathe.core.optim import SGD, AdamW, Muon
from lathe.core.recompute import keep_activations, recompute_layers
from lathe.core.types import Symbols
from lathe.tasks import Classify
from lathe.tasks.several import Several

INPUTS = {
    "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
}
CLASSES = (AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForSequenceClassification)


def made(config, classes=CLASSES):
    torch.manual_seed(0)
    return [auto_model.from_config(copy.deepcopy(config)).eval() for auto_model in classes]


def test_bodies_are_one_and_heads_are_not(bert_config):
    networks = made(bert_config)
    first = {name: tensor.clone() for name, tensor in networks[0].state_dict().items()}
    heads = Heads(networks)
    own = [dict(network.named_parameters()) for network in networks]
    shared = [name for name in own[1] if name.startswith("bert.")]
    assert shared and all(own[0][name] is own[1][name] is own[2][name] for name in shared)
    assert own[0]["bert.pooler.dense.weight"] is own[2]["bert.pooler.dense.weight"]  # the second has none
    assert own[0]["classifier.weight"] is not own[2]["classifier.weight"]
    assert all(torch.equal(tensor, first[name]) for name, tensor in networks[0].state_dict().items())
    head = sum(network.classifier.weight.numel() + network.classifier.bias.numel() for network in networks[1:])
    assert heads.num_parameters() == networks[0].num_parameters() + head
    assert networks_of(heads) == networks and networks_of(networks[0]) == [networks[0]]


def test_tied_weights_stay_tied(gpt2_config):
    networks = made(gpt2_config, (AutoModelForSequenceClassification, AutoModelForCausalLM, AutoModelForCausalLM))
    Heads(networks)
    words = networks[0].transformer.wte.weight
    assert all(network.lm_head.weight is words is network.transformer.wte.weight for network in networks[1:])


def test_a_head_of_words_is_part_of_the_body(gpt2_config):
    gpt2_config.tie_word_embeddings = False
    networks = made(gpt2_config, (AutoModelForCausalLM, AutoModelForCausalLM))
    heads = Heads(networks)
    assert networks[0].lm_head.weight is networks[1].lm_head.weight is heads.get_output_embeddings().weight


def test_training_is_true_only_where_every_network_is_in_training(bert_config):
    networks = made(bert_config)
    heads = Heads(networks)
    assert not heads.training
    heads.train()
    assert heads.training and all(module.training for module in heads.modules())
    networks[1].eval()  # as a predictor does
    assert not heads.training
    heads.train()
    assert all(module.training for module in heads.modules())


def test_each_network_packs_once_and_answers_as_padded(bert_config):
    networks = made(bert_config)
    heads = Heads(networks)
    expected = [network(**INPUTS).logits for network in networks]
    packing.enable(networks[1])  # a predictor may have been made before
    assert fit.quicken(heads) is None
    hooks = [len(network.bert.encoder.layer[0]._forward_pre_hooks) for network in networks]
    assert hooks == [1, 1, 1]
    for network, logits in zip(networks, expected, strict=True):
        found = network(**INPUTS).logits
        mask = INPUTS["attention_mask"].bool() if logits.dim() == 3 else slice(None)
        torch.testing.assert_close(found[mask], logits[mask], atol=1e-5, rtol=1e-5)
    fit.plain(heads)
    assert [len(network.bert.encoder.layer[0]._forward_pre_hooks) for network in networks] == [0, 0, 0]
    assert all(network.config._attn_implementation == "sdpa" for network in networks)


def test_the_table_of_words_is_one_module_so_that_its_gradient_may_be_kept(bert_config, monkeypatch):
    monkeypatch.setattr(tables, "SMALLEST", 1)
    networks = made(bert_config)
    heads = Heads(networks)
    fit.quicken(heads)
    assert [type(network.get_input_embeddings()) for network in networks] == [tables.Table] * 3
    assert len(tables.kept(heads)) == 1


def test_layers_run_again_in_all_networks(bert_config):
    heads = Heads(made(bert_config))
    recompute_layers(heads)
    assert all(network.bert.encoder.layer[1].gradient_checkpointing for network in heads.networks)
    keep_activations(heads)
    assert not any(network.bert.encoder.layer[1].gradient_checkpointing for network in heads.networks)


@pytest.mark.parametrize("optimizer", [AdamW(weight_decay=0.5), SGD(weight_decay=0.5), Muon(weight_decay=0.5)])
def test_a_step_of_one_task_leaves_the_other_heads_alone(bert_config, tokenizer, optimizer):
    networks = made(bert_config)
    heads, task = Heads(networks), Classify(labels=("a", "b"), max_length=8)
    symbols = Symbols.of(tokenizer)
    several = Several({"first": task, "other": task, "third": task}, {"first": symbols})
    rows = [{"owner": "first", "row": row} for row in task.encode([{"text": "good", "label": "a"}], tokenizer)]
    batch = several.collate(rows, np.zeros(1, np.uint64), symbols)
    before = [network.classifier.weight.clone() for network in networks]
    body = networks[0].bert.encoder.layer[0].output.dense.weight.clone()
    config = Train(optimizer=optimizer, learning_rate=0.1, warmup_ratio=0, precision="fp32")
    step = StepBatches(0, (batch,), np.array([0]), 3)
    taken = train_step(heads, several, step, config, 10, State(config.optimizers(heads)))
    assert taken.items == {"first/classify": 1} and taken.parts.keys() == taken.items.keys()
    moved = [not torch.equal(network.classifier.weight, old) for network, old in zip(networks, before, strict=True)]
    assert moved == [True, False, False]
    assert not torch.equal(networks[2].bert.encoder.layer[0].output.dense.weight, body)
