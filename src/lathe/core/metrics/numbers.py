"""Metrics of numbers: degrees of similarity, grades, anything that is measured.

Where golds or predictions are all equal, a correlation is 0 by convention, also for equal ones: they tell no order.
"""

from collections.abc import Sequence

import numpy as np

from lathe.core.metrics.order import ordered
from lathe.core.metrics.sums import Floats, mean_of, paired, total
from lathe.core.predictions import Number

_ROUNDING = 1e-12  # share of a sum of squares that is no variance


def rmse(golds: Sequence[float], predictions: Sequence[Number]) -> float:
    """Root of the mean squared error, in the unit of the numbers; lower is better."""
    return float(rmse_of(total(squared_rows, golds, predictions)))


def pearson(golds: Sequence[float], predictions: Sequence[Number]) -> float:
    """Pearson's correlation coefficient, from -1 to 1.

    >>> round(pearson([1, 2, 3], [Number(10), Number(20), Number(30)]), 6)
    1.0
    """
    return float(pearson_of(moment_rows(golds, predictions).sum(0)))


def spearman(golds: Sequence[float], predictions: Sequence[Number]) -> float:
    """Pearson's correlation of the ranks, equal numbers having the mean of their ranks (Spearman, 1904)."""
    rows = number_rows(golds, predictions)
    return float(spearman_of(rows, np.ones((1, len(rows))))[0])


def number_rows(golds: Sequence[float], predictions: Sequence[Number]) -> Floats:
    """Gold and predicted number. Raises ``ValueError`` for one that is not finite.  [N, 2]"""
    rows = np.array([(gold, one.value) for gold, one in paired(golds, predictions)], np.float64)
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise ValueError(f"row {row + 1}: gold {rows[row, 0]}, predicted {rows[row, 1]}: not a finite number")
    return rows


def squared_rows(golds: Sequence[float], predictions: Sequence[Number]) -> Floats:
    """Squared error, and 1.  [N, 2]"""
    rows = number_rows(golds, predictions)
    return np.stack([(rows[:, 0] - rows[:, 1]) ** 2, np.ones(len(rows))], axis=1)


def rmse_of(sums: Floats) -> Floats:
    """[..., 2] -> [...]"""
    return np.asarray(np.sqrt(mean_of(sums)))


def moment_rows(golds: Sequence[float], predictions: Sequence[Number]) -> Floats:
    """1, x, y, x², y² and xy of the numbers less their means, since large numbers cost digits.  [N, 6]"""
    rows = number_rows(golds, predictions)
    x, y = np.where(np.ptp(rows, axis=0) > 0, rows - rows.mean(0), 0.0).T
    return np.stack([np.ones(len(rows)), x, y, x * x, y * y, x * y], axis=1)


def pearson_of(sums: Floats) -> Floats:
    """[..., 6] -> [...]"""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = xx - x * x / count, yy - y * y / count
    known = (spread_x > _ROUNDING * xx) & (spread_y > _ROUNDING * yy)
    spread = np.sqrt(np.where(known, spread_x, 1) * np.where(known, spread_y, 1))
    return np.where(known, np.clip((xy - x * y / count) / spread, -1, 1), 0.0)


def spearman_of(rows: Floats, draws: Floats) -> Floats:
    """Golds and predictions [N, 2], how often each row is drawn [R, N] -> [R]"""
    x, y = (_ranks(column, draws) - (draws.sum(1, keepdims=True) + 1) / 2 for column in rows.T)  # [R, N], mean 0
    moments = [np.ones_like(x), x, y, x * x, y * y, x * y]
    return pearson_of(np.stack([(draws * one).sum(1) for one in moments], axis=1))


def _ranks(values: Floats, draws: Floats) -> Floats:
    """Mean rank of each row among the rows drawn, the highest first.  [R, N]"""
    order = ordered(values)
    groups = order.sums(draws)  # [R, G]
    ranks = np.empty_like(draws)
    ranks[:, order.rows] = np.repeat(groups.cumsum(1) - (groups - 1) / 2, order.sizes, axis=1)
    return ranks
