"""Metrics of an order by scores, beside any threshold: areas under the ROC and the precision-recall curve.

They are no functions of sums over rows, but functions of how often each row is drawn, once the rows are sorted.
C labels, N rows, R draws, G groups of equal score. Rows of equal score have no order, and are counted as having none.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.metrics.classification import LabelGold, LabelSaid, label_set
from lathe.core.metrics.sums import Floats, paired
from lathe.core.predictions import Label

Curve: TypeAlias = Callable[[Floats, Floats], Floats]  # positives [R, G], negatives [R, G] -> area [R], nan: undefined


class Order(NamedTuple):
    """Rows from the highest value to the lowest, in groups of equal ones."""

    rows: np.ndarray[Any, np.dtype[np.intp]]  # [N]
    starts: np.ndarray[Any, np.dtype[np.intp]]  # [G]

    @property
    def sizes(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Rows of each group.  [G]"""
        return np.diff(self.starts, append=len(self.rows))

    def sums(self, weights: Floats) -> Floats:
        """Of each group.  [R, N] -> [R, G]"""
        return np.add.reduceat(weights[:, self.rows], self.starts, axis=1)


def ordered(values: Floats) -> Order:
    """[N]

    >>> order = ordered(np.array([1.0, 3.0, 1.0]))
    >>> order.rows.tolist(), order.starts.tolist()
    ([1, 0, 2], [0, 1])
    """
    rows = np.argsort(-values, kind="stable")
    ranked = values[rows]
    return Order(rows, np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])))


def auroc(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Chance that a row of a label has a higher score for it than one of another; mean over labels (one against rest).

    Labels that all rows or no rows have tell nothing and are left out; where none is left it is 0.5, which is chance.
    """
    return _value(auroc_of, golds, predictions)


def micro_auroc(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """The same with the scores of all labels in one order."""
    return _value(micro_auroc_of, golds, predictions)


def average_precision(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Mean precision at the rows of a label, by falling score for it; mean over labels.

    Of two labels one of which each row has, the second is the one that is sought, as in scikit-learn. Labels that no
    row has are left out (scikit-learn counts them as 0).
    """
    return _value(average_precision_of, golds, predictions)


def micro_average_precision(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """The same with the scores of all labels in one order."""
    return _value(micro_average_precision_of, golds, predictions)


# ------------------------------------------------------------------ each metric as a function of how rows are drawn
def score_rows(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> Floats:
    """Is it a label of the row, for each label, and the scores of the labels.  [N, 2C]"""
    pairs = paired(golds, predictions)
    labels = dict.fromkeys(label for _, one in pairs for label in one.scores)
    labels |= dict.fromkeys(sorted({label for gold, _ in pairs for label in label_set(gold)}))
    if len(labels) == 2 and isinstance(pairs[0][1], Label):
        labels = dict.fromkeys([*labels][1:])
    truth = np.array([[label in label_set(gold) for label in labels] for gold, _ in pairs], np.float64)
    scores = np.array([[one.scores.get(label, 0.0) for label in labels] for _, one in pairs], np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"row {int(np.flatnonzero(np.isnan(scores).any(1))[0]) + 1}: a score is not a number")
    return np.concatenate([truth, scores], axis=1)


def auroc_of(rows: Floats, draws: Floats) -> Floats:
    """[N, 2C], [R, N] -> [R]"""
    return _mean_area(_roc, rows, draws, chance=0.5)


def micro_auroc_of(rows: Floats, draws: Floats) -> Floats:
    """[N, 2C], [R, N] -> [R]"""
    return _pooled_area(_roc, rows, draws, chance=0.5)


def average_precision_of(rows: Floats, draws: Floats) -> Floats:
    """[N, 2C], [R, N] -> [R]"""
    return _mean_area(_precision_recall, rows, draws, chance=0.0)


def micro_average_precision_of(rows: Floats, draws: Floats) -> Floats:
    """[N, 2C], [R, N] -> [R]"""
    return _pooled_area(_precision_recall, rows, draws, chance=0.0)


def _value(
    of_draws: Callable[[Floats, Floats], Floats], golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]
) -> float:
    rows = score_rows(golds, predictions)
    return float(of_draws(rows, np.ones((1, len(rows))))[0])


def _mean_area(curve: Curve, rows: Floats, draws: Floats, chance: float) -> Floats:
    """Mean over the labels for which the area is defined.  [R]"""
    truth, scores = np.split(rows, 2, axis=1)  # [N, C] each
    areas = np.stack([_area(curve, ordered(s), t, draws) for t, s in zip(truth.T, scores.T, strict=True)])  # [C, R]
    known = ~np.isnan(areas)
    sums = np.where(known, areas, 0.0).sum(0)
    return np.where(known.any(0), sums / np.maximum(known.sum(0), 1), chance)


def _pooled_area(curve: Curve, rows: Floats, draws: Floats, chance: float) -> Floats:
    """Of one order of all labels of all rows; a draw at a time, since it is C times as wide.  [R]"""
    truth, scores = (part.ravel() for part in np.split(rows, 2, axis=1))  # [NC] each
    order = ordered(scores)
    wide = (np.repeat(draw, len(truth) // len(rows))[None] for draw in draws)
    areas = np.concatenate([_area(curve, order, truth, draw) for draw in wide])
    return np.where(np.isnan(areas), chance, areas)


def _area(curve: Curve, order: Order, truth: Floats, draws: Floats) -> Floats:
    return curve(order.sums(draws * truth), order.sums(draws * (1 - truth)))


def _roc(positives: Floats, negatives: Floats) -> Floats:
    """Pairs of a positive and a negative row in the right order, half of those that are equal, by all pairs."""
    above = positives.cumsum(1) - positives / 2
    return _divided((negatives * above).sum(1), positives.sum(1) * negatives.sum(1))


def _precision_recall(positives: Floats, negatives: Floats) -> Floats:
    """Sum of the steps of recall, each times the precision behind it."""
    found = positives.cumsum(1)
    precision = found / np.maximum(found + negatives.cumsum(1), 1)
    return _divided((positives * precision).sum(1), positives.sum(1))


def _divided(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
