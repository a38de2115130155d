"""The loop: losses that carry their items, and failures that change nothing. The invariants are in test_invariants."""

import numpy as np
import pytest
import torch
from torch import nn

from lathe.core.batches import StepBatches
from lathe.core.errors import LatheError
from lathe.core.learn import BadStep, State, Train, step_loss, train, train_step
from lathe.core.optim import SGD
from lathe.core.types import Batch, Part

CONFIG = Train(learning_rate=0.1, optimizer=SGD(), precision="fp32", warmup_ratio=0, max_grad_norm=1e9)


class Square:
    """Two parts over different items: sum of (w x)^2, and w with weight 3 where a row asks for it."""

    def loss(self, model, batch):
        values = model(batch.inputs["x"])
        return [
            Part("square", values.square().sum(), batch.items["square"]),
            Part("pull", model.weight.sum() * batch.items["pull"], batch.items["pull"], 3.0),
        ]


def step_of(*micro):
    batches = tuple(Batch({"x": torch.tensor(x)[:, None]}, {}, {"square": len(x), "pull": pull}) for x, pull in micro)
    return StepBatches(0, batches, np.arange(3), 3)


def model():
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(2.0)
    return layer


def test_each_part_is_divided_by_its_own_items_of_the_whole_step():
    layer = model()
    step = train_step(layer, Square(), step_of(([1.0, 2.0], 1), ([3.0], 0)), CONFIG, 1, State(CONFIG.optimizer(layer)))
    assert step.parts == pytest.approx({"square": 4 * (1 + 4 + 9) / 3, "pull": 2.0})
    assert step.loss == pytest.approx(4 * 14 / 3 + 3 * 2.0)
    gradient = 2 * 2 * 14 / 3 + 3
    assert layer.weight.item() == pytest.approx(2.0 - 0.1 * gradient)


def test_bad_steps_pass_without_an_update_until_there_are_too_many_in_a_row():
    config = Train(**{**CONFIG.__dict__, "max_bad_steps": 2})
    good, bad = step_of(([1.0, 2.0], 1)), step_of(([1.0, float("nan")], 1))
    layer, plain, told = model(), model(), []
    order = [good, bad, bad, good, bad, bad, bad]
    steps = train(layer, Square(), order, config, 9, State(config.optimizer(layer)), lambda _, b: told.append(b.step))
    taken = [next(steps) for _ in range(6)]
    with pytest.raises(BadStep, match="step 7: .*no update was made"):
        next(steps)
    assert told == [2, 3, 5, 6, 7]
    assert [np.isfinite(step.loss) for step in taken] == [True, False, False, True, False, False]
    state = State(config.optimizer(plain))
    for number in (0, 3):
        state.step = number
        train_step(plain, Square(), good, config, 9, state)
    assert layer.weight.item() == plain.weight.item()


def test_a_part_without_items_adds_nothing_and_is_not_nan():
    total = torch.ones((), requires_grad=True)
    loss = step_loss([Part("a", total * 4, 2), Part("b", total * 0, 0)], {"a": 2, "b": 0})
    assert float(loss.detach()) == 2.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_changes_no_weight(bad):
    layer = model()
    with pytest.raises(LatheError, match="step 1: loss .* no update was made"):
        train_step(layer, Square(), step_of(([1.0, bad], 1)), CONFIG, 1, State(CONFIG.optimizer(layer)))
    assert layer.weight.item() == 2.0


def test_the_loop_takes_exactly_the_steps_asked_for():
    layer = model()
    state = State(CONFIG.optimizer(layer))
    steps = list(train(layer, Square(), iter([step_of(([0.1], 1))] * 10), CONFIG, 4, state))
    assert [step.number for step in steps] == [1, 2, 3, 4]
    assert state.step == 4


def test_gradients_are_clipped_to_the_norm_and_the_norm_before_is_reported():
    layer, config = (
        model(),
        Train(learning_rate=1.0, optimizer=SGD(), precision="fp32", warmup_ratio=0, max_grad_norm=0.5),
    )
    step = train_step(layer, Square(), step_of(([1.0], 0)), config, 1, State(config.optimizer(layer)))
    assert step.grad_norm == pytest.approx(4.0)
    assert layer.weight.item() == pytest.approx(1.5, abs=1e-4)
