"""Speed of a predictor: what is called, how often, and what comes out."""

import time

import pytest

from lathe.core.measure import BATCH_ROWS, measure
from lathe.core.predictions import Label


def sleepy(seconds, calls):
    def predict(rows):
        calls.append(len(rows))
        time.sleep(seconds)
        return [Label("a", {"a": 1.0})] * len(rows)

    return predict


def test_the_time_of_one_row_and_the_rate_of_many_are_those_of_the_predictor():
    speed = measure(sleepy(0.002, []), ["text"] * 20, budget_s=0.1)
    assert 2 <= speed.p50_ms <= speed.p95_ms
    assert 0 < speed.rows_per_second <= 20 / 0.002


def test_single_rows_and_batches_are_both_measured_within_the_budget():
    calls = []
    started_s = time.perf_counter()
    measure(sleepy(0.002, calls), ["text"] * (3 * BATCH_ROWS), budget_s=0.2)
    assert time.perf_counter() - started_s < 2
    assert set(calls) == {1, BATCH_ROWS}


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        measure(sleepy(0, []), [])
