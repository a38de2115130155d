"""How sure a score is, and whether one set of predictions is better than another on the same rows.

N rows, R resamples, S runs (seeds), K columns of what a metric needs of each row.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.metrics import METRICS, Measure
from lathe.core.metrics.sums import Floats
from lathe.core.predictions import Prediction
from lathe.core.types import Metric

RESAMPLES = 1000
CONFIDENCE = 0.95
_CELLS = 1 << 22  # of a block of resamples in memory
_MEASURES = {measure.metric: measure for measure in METRICS.values()}


class Score(NamedTuple):
    """A value and the bounds of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def score(
    metric: Metric,
    golds: Sequence[Any],
    predictions: Sequence[Prediction],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Score:
    """A metric with its percentile bootstrap interval over rows (Efron, 1979).

    The metrics of ``core.metrics`` are resampled by their sums, 1,000 times in well under a second, or, where they are
    of an order, by how often each row is drawn; any other function is called again for each resample.
    """
    value = metric(golds, predictions)
    values = _resampled([_resampler(metric, golds, predictions)], len(golds), resamples, seed)
    return _interval(value, values[:, 0], confidence)


def difference(
    metric: Metric,
    golds: Sequence[Any],
    old: Sequence[Prediction],
    new: Sequence[Prediction],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Score:
    """``metric(new) - metric(old)`` with its paired bootstrap interval: both are resampled on the same rows."""
    return mean_difference(metric, golds, [old], [new], seed=seed, resamples=resamples, confidence=confidence)


def mean_difference(
    metric: Metric,
    golds: Sequence[Any],
    old: Sequence[Sequence[Prediction]],
    new: Sequence[Sequence[Prediction]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Score:
    """Mean of ``metric(new[s]) - metric(old[s])`` over runs, with an interval over runs *and* rows.

    Rows and runs are drawn anew together, since both are samples: of texts, and of seeds. Run s of one side is paired
    with run s of the other. Deviations between runs are widened by sqrt(S / (S - 1)), because the bootstrap's spread
    of S values is too small by that factor, which matters for five seeds.
    """
    if not len(old) == len(new) > 0:
        raise ValueError(f"{len(old)} runs against {len(new)}: a paired comparison needs at least one, and as many")
    value = float(np.mean([metric(golds, b) - metric(golds, a) for a, b in zip(old, new, strict=True)]))
    resamplers = [_resampler(metric, golds, run) for run in (*old, *new)]
    values = _resampled(resamplers, len(golds), resamples, seed)  # [R, 2S]
    return _interval(value, _over_runs(values[:, len(old) :] - values[:, : len(old)], seed), confidence)


def mcnemar(old_right: Sequence[bool], new_right: Sequence[bool]) -> float:
    """Exact two-sided p-value that both are right equally often (McNemar, 1947): a sign test on rows where they differ.

    >>> mcnemar([False] * 6 + [True], [True] * 7)
    0.03125
    """
    pairs = list(zip(map(bool, old_right), map(bool, new_right), strict=True))
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    tail = sum(math.comb(lost + won, k) for k in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / (1 << lost + won))


def sign_flip(differences: Sequence[float] | Floats, *, seed: int = 0, permutations: int = 10_000) -> float:
    """Two-sided p-value that paired differences are symmetric about 0 (Fisher's randomisation test on their mean).

    All sign patterns are tried where there are no more of them than ``permutations``; otherwise that many random ones,
    and the observed one counts among them, so that p is never 0.
    """
    values = np.asarray(differences, np.float64)  # [N]
    if not len(values):
        raise ValueError("no differences to test")
    observed = abs(values.sum()) * (1 - 1e-12)
    if 2 ** len(values) <= permutations:
        patterns = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1  # [2**N, N]
        extreme = int((np.abs((1.0 - 2.0 * patterns) @ values) >= observed).sum())
        return extreme / len(patterns)
    rng = np.random.default_rng(seed)
    extreme = 0
    for count in _blocks(permutations, len(values)):
        signs = rng.integers(0, 2, (count, len(values)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ values) >= observed).sum())
    return (extreme + 1) / (permutations + 1)


_Resampler: TypeAlias = Callable[[Floats], Floats]  # how often each row is drawn [R, N] -> values [R]


def _resampler(metric: Metric, golds: Sequence[Any], predictions: Sequence[Prediction]) -> _Resampler:
    if metric in _MEASURES:
        measure = _MEASURES[metric]
        rows = measure.rows(golds, predictions)  # [N, K]
        if isinstance(measure, Measure):
            return lambda draws: measure.of_sums(draws @ rows)
        return lambda draws: measure.of_draws(rows, draws)

    def call_again(draws: Floats) -> Floats:
        picks = [np.repeat(np.arange(len(golds)), times.astype(np.int64)).tolist() for times in draws]
        return np.array([metric([golds[i] for i in pick], [predictions[i] for i in pick]) for pick in picks])

    return call_again


def _resampled(resamplers: Sequence[_Resampler], rows: int, resamples: int, seed: int) -> Floats:
    """The value of each resampler on the same draws of ``rows`` rows with replacement.  [R, resamplers]"""
    rng = np.random.default_rng(seed)
    values = []
    for count in _blocks(resamples, rows):
        picks = rng.integers(0, rows, (count, rows)) + np.arange(count)[:, None] * rows
        draws = np.bincount(picks.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)  # [R, N]
        values.append(np.stack([resampler(draws) for resampler in resamplers], axis=1))
    return np.concatenate(values)


def _over_runs(values: Floats, seed: int) -> Floats:
    """The mean over runs drawn with replacement, of each resample.  [R, S] -> [R]"""
    resamples, runs = values.shape
    if runs == 1:
        return values[:, 0]
    picks = np.random.default_rng([seed, runs]).integers(0, runs, (resamples, runs))
    centre, drawn = values.mean(1), np.take_along_axis(values, picks, axis=1).mean(1)
    return np.asarray(centre + (drawn - centre) * math.sqrt(runs / (runs - 1)))


def _interval(value: float, values: Floats, confidence: float) -> Score:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Score(value, float(low), float(high))


def _blocks(count: int, width: int) -> Iterator[int]:
    """``count`` cut into pieces that each fit into memory."""
    step = max(1, _CELLS // width)
    for start in range(0, count, step):
        yield min(step, count - start)
