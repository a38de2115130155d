"""Which steps may change the weights."""

import json
import math
import random
import statistics
from dataclasses import asdict

import pytest

from lathe.core.health import WINDOW, Health, spike_limit


def after(count, draw=None):
    draw = draw or random.Random(0)
    health = Health()
    for _ in range(count):
        health.took(draw.gauss(5, 0.1), draw.gauss(1, 0.1))
    return health


def test_the_limit_is_mean_and_deviations_of_the_window():
    values = [random.Random(1).gauss(3, 2) for _ in range(100)]
    assert spike_limit(values, 6) == pytest.approx(statistics.fmean(values) + 6 * statistics.stdev(values), rel=1e-12)


def test_a_spike_of_loss_or_norm_is_found_and_an_ordinary_step_is_not():
    health = after(WINDOW)
    assert health.objection(5.2, 1.2, 6) == ""
    assert "loss 9 is a spike: more than" in health.objection(9.0, 1.0, 6)
    assert "gradient norm 4 is a spike" in health.objection(5.0, 4.0, 6)
    assert health.objection(0.0, 0.0, 6) == "", "lower is no spike"


def test_nothing_is_judged_by_fewer_than_half_a_window_or_without_being_asked():
    assert after(WINDOW // 2 - 1).objection(9.0, 1.0, 6) == ""
    assert after(WINDOW // 2).objection(9.0, 1.0, 6) != ""
    assert after(WINDOW).objection(9.0, 1.0, None) == ""


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_always_refused(bad):
    assert "loss" in Health().objection(bad, 1.0, None)
    assert "gradient norm" in Health().objection(1.0, bad, None)


def test_the_window_holds_the_last_steps_and_comes_back_from_json_bit_for_bit():
    draw = random.Random(2)
    health = after(3 * WINDOW, draw)
    assert len(health.losses) == len(health.norms) == WINDOW
    again = Health(**json.loads(json.dumps(asdict(health))))
    assert again == health
    assert spike_limit(again.losses, 6) == spike_limit(health.losses, 6)


def test_a_spike_does_not_widen_what_is_allowed():
    health = after(WINDOW)
    limit = spike_limit(health.losses, 6)
    assert health.objection(100.0, 1.0, 6)
    assert spike_limit(health.losses, 6) == limit
