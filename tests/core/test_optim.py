"""Update rules and schedules against their formulas."""

import pytest
import torch
from torch import nn
from transformers import BertForMaskedLM, get_wsd_schedule
from transformers.optimization import get_cosine_with_min_lr_schedule_with_warmup

from lathe.core.muon import StackedMuon
from lathe.core.optim import (
    SGD,
    AdamW,
    Constant,
    Cosine,
    Linear,
    Muon,
    WarmupStableDecay,
    groups,
    rate_factor,
    restore_state,
    state_tensors,
    trainable,
)

RATE, DECAY = 0.1, 0.5


def layer():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def one_step(optimizers, model):
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = RATE
    model(torch.ones(1, 3)).sum().backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    for optimizer in optimizers:
        optimizer.step()
    return before, grads


def test_sgd_is_gradient_and_decay():
    model = layer()
    before, grads = one_step(SGD(weight_decay=DECAY)(model), model)
    expected = before["weight"] - RATE * (grads["weight"] + DECAY * before["weight"])
    torch.testing.assert_close(model.weight.data, expected)


def test_adamw_decays_apart_from_the_gradient():
    """The first step: m / (sqrt(v) + eps) is the sign of the gradient, and the decay does not pass through it."""
    model = layer()
    before, grads = one_step(AdamW(weight_decay=DECAY)(model), model)
    expected = before["weight"] * (1 - RATE * DECAY) - RATE * grads["weight"].sign()
    torch.testing.assert_close(model.weight.data, expected, rtol=1e-5, atol=1e-6)


def test_biases_and_norms_are_not_decayed():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    decayed, free = groups(trainable(model), 0.1)
    assert [p.ndim for p in decayed["params"]] == [2]
    assert all(p.ndim == 1 for p in free["params"]) and free["weight_decay"] == 0.0


def test_frozen_parameters_are_left_out():
    model = layer()
    model.bias.requires_grad_(False)
    assert sum(len(group["params"]) for group in groups(trainable(model), 0.1)) == 1


@pytest.mark.parametrize("rule", [AdamW(), SGD(momentum=0.9), Muon()])
def test_the_memory_of_an_optimizer_round_trips_bit_for_bit(rule):
    def run(steps, model, optimizers):
        for _ in range(steps):
            model.zero_grad()
            one_step(optimizers, model)

    unbroken = layer()
    run(4, unbroken, rule(unbroken))
    first = layer()
    optimizer = rule(first)
    run(2, first, optimizer)
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, first).items()}
    again = layer()
    again.load_state_dict(first.state_dict())
    optimizer = rule(again)
    restore_state(optimizer, again, saved)
    run(2, again, optimizer)
    assert torch.equal(unbroken.weight, again.weight) and torch.equal(unbroken.bias, again.bias)


@pytest.mark.parametrize("shapes", [[(8, 8)], [(4, 12), (12, 4), (4, 12)], [(5, 3), (7, 2), (3, 5), (1, 4)]])
def test_matrices_orthogonalized_together_move_as_torch_moves_them_one_by_one(shapes):
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    stacked = StackedMuon(ours, lr=RATE, momentum=0.9, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, RATE, 0.1, 0.9, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            without = step == 2 and number == 1  # a parameter that this step has not reached
            mine.grad = None if without else torch.randn_like(mine)
            other.grad = None if without else mine.grad.clone()
        stacked.step()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0.05 * RATE)  # of updates of about RATE, made in bf16


def test_muon_moves_a_matrix_by_an_orthogonal_update_of_adams_size_and_leaves_the_rest_to_adamw(bert_config):
    torch.manual_seed(0)
    model = nn.Linear(8, 8, bias=False)
    (muon, *_) = optimizers = Muon(weight_decay=0.0)(model)
    before = model.weight.detach().clone()
    for group in muon.param_groups:
        group["lr"] = RATE
    model(torch.randn(32, 8)).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    singular = torch.linalg.svdvals(before - model.weight.detach()) / (RATE * 0.2 * 8**0.5)
    assert singular.min() > 0.6 and singular.max() < 1.3  # five Newton-Schulz steps reach about 1
    masked = BertForMaskedLM(bert_config)
    matrices = {id(p) for group in Muon()(masked)[0].param_groups for p in group["params"]}
    assert {n.split(".")[-2] for n, p in masked.named_parameters() if id(p) in matrices} == {
        "query",
        "key",
        "value",
        "dense",
    }


def test_schedules_warm_up_and_end_where_they_should():
    for schedule in (Constant(), Linear(), Cosine(), WarmupStableDecay(decay_ratio=0.25)):
        factors = [rate_factor(schedule, step, 100, 10) for step in range(100)]
        assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
        assert factors[10] == pytest.approx(1.0)
        assert all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))
    assert rate_factor(Linear(), 55, 100, 10) == pytest.approx(0.5)
    assert rate_factor(Cosine(), 55, 100, 10) == pytest.approx(0.5)
    assert rate_factor(WarmupStableDecay(decay_ratio=0.2), 80, 100, 0) == pytest.approx(1.0)
    assert rate_factor(WarmupStableDecay(decay_ratio=0.2), 90, 100, 0) == pytest.approx(0.5)


@pytest.mark.parametrize("decay_type", ["linear", "1-sqrt"])
def test_wsd_and_cosine_are_those_of_transformers(decay_type):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    wsd = get_wsd_schedule(optimizer, 10, 30, num_training_steps=110, min_lr_ratio=0.1, decay_type=decay_type)
    cosine = get_cosine_with_min_lr_schedule_with_warmup(optimizer, 10, 110, min_lr_rate=0.1)
    ours = (WarmupStableDecay(decay_ratio=0.3, decay_type=decay_type, min_lr_rate=0.1), Cosine(min_lr_rate=0.1))
    for step in range(10, 110):  # theirs begins to rise from 0, ours takes no step without a rate
        for schedule, theirs in zip(ours, (wsd, cosine), strict=True):
            assert rate_factor(schedule, step, 110, 10) == pytest.approx(theirs.lr_lambdas[0](step), abs=1e-12)
