"""How fast a predictor answers on this machine: one row at a time, and many at once."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np

from lathe.core.types import Predictor, Row

BUDGET_S = 4.0
SINGLE_ROWS = 200
FEWEST_SINGLE = 10  # calls, also where they take longer than the budget
BATCH_ROWS = 256
WARM_UP_ROWS = 3


class Speed(NamedTuple):
    """From text to prediction, tokenizer included."""

    p50_ms: float  # of one row alone: the median
    p95_ms: float
    rows_per_second: float  # of batches of ``BATCH_ROWS`` rows


def measure(predictor: Predictor, rows: Sequence[Row | str], budget_s: float = BUDGET_S) -> Speed:
    """Half of ``budget_s`` goes to single rows, half to batches; both are spread evenly over ``rows``.

    A row that is slow to start with (pages, kernels and caches are cold) does not count.
    """
    if not rows:
        raise ValueError("no rows to measure a predictor on")
    single = _spread(rows, SINGLE_ROWS)
    for row in single[:WARM_UP_ROWS]:
        predictor([row])
    seconds = list(_timed(predictor, [[row] for row in single], budget_s / 2, FEWEST_SINGLE))
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    many = _spread(rows, BATCH_ROWS)
    batch_seconds = list(_timed(predictor, cycle([many]), budget_s / 2, 1))
    rate = len(many) * len(batch_seconds) / sum(batch_seconds)
    return Speed(round(1000 * float(p50), 3), round(1000 * float(p95), 3), round(rate, 1))


def _timed(predictor: Predictor, calls: Iterable[Sequence[Row | str]], budget_s: float, fewest: int) -> Iterator[float]:
    """Seconds of each call, until the budget is spent and ``fewest`` calls are made."""
    spent = 0.0
    for number, rows in enumerate(calls):
        if spent >= budget_s and number >= fewest:
            return
        started_s = time.perf_counter()
        predictor(rows)
        seconds = time.perf_counter() - started_s
        spent += seconds
        yield seconds


def _spread(rows: Sequence[Row | str], count: int) -> list[Row | str]:
    """At most ``count`` rows, evenly spaced: files are often sorted."""
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
