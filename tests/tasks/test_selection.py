"""Which evaluation is the best, and after which there is no use in going on."""

import json
import math

import pytest

from lathe.core.errors import LatheError
from lathe.tasks.selection import Selection


def walked(selection: Selection, found: list[float]) -> tuple[int | None, int]:
    """(best step, the step after which it was enough or the last) of scores found step by step; each as resumed."""
    memory: dict = {}
    for step, value in enumerate(found, 1):
        memory = json.loads(json.dumps(memory))
        selection.is_best(memory, step, {selection.metric: value})
        if selection.has_enough(memory):
            break
    return memory.get("best_step"), step


@pytest.mark.parametrize(
    ("metric", "threshold", "found", "expected"),
    [
        ("accuracy", 0, [0.1, 0.3, 0.2, 0.2, 0.9], (2, 4)),
        ("accuracy", 0, [0.1, 0.3, 0.2, 0.4, 0.3, 0.4], (4, 6)),  # a draw is not better, the earliest is the best
        ("loss", 0, [2.0, 1.0, 1.1, 1.2, 0.1], (2, 4)),
        ("rmse", 0, [2.0, 1.0, 1.1, 0.9, 0.1], (5, 5)),
        ("accuracy", 0.1, [0.1, 0.15, 0.18, 0.9], (3, 3)),  # the best is kept though it was too little to go on
        ("accuracy", 0.1, [0.1, 0.18, 0.25, 0.32, 0.39], (5, 5)),  # small gains add up
        ("accuracy", 0, [math.nan, 0.1, math.nan, math.nan, 0.5], (2, 4)),
        ("loss", 0, [math.inf, math.nan, 0.1], (None, 2)),
    ],
)
def test_two_evaluations_without_anything_better_are_enough(metric, threshold, found, expected):
    assert walked(Selection(metric, 2, threshold), found) == expected


def test_without_patience_it_is_never_enough():
    assert walked(Selection("accuracy"), [0.5, *[0.1] * 100]) == (1, 101)


@pytest.mark.parametrize("metric", ["loss", "ece", "ter"])
def test_lower_is_better_where_the_metric_says_so(metric):
    assert not Selection(metric).higher_is_better


def test_the_outcome_says_which_step_why_and_that_it_ended_early():
    memory: dict = {}
    for step, loss in ((2, 0.5), (4, 0.25), (6, 0.75)):
        Selection("loss").is_best(memory, step, {"loss": loss})
    expected = {"best_step": 4, "steps": 6, "selected_by": "lowest validation loss"}
    assert Selection("loss").outcome(memory, 6) == expected
    assert Selection("loss").outcome(memory, 100) == expected | {"planned_steps": 100}


def test_no_number_at_all_is_an_error():
    memory: dict = {}
    Selection("loss").is_best(memory, 1, {"loss": math.nan})
    with pytest.raises(LatheError, match="validation loss: no evaluation found a number"):
        Selection("loss").outcome(memory, 1)
