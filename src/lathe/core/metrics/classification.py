"""Metrics of one label for each text. C classes, N rows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.predictions import Label

Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

ECE_BINS = 15


class ClassReport(NamedTuple):
    """How one class fares against all others."""

    precision: float
    recall: float
    f1: float
    support: int  # rows whose gold label it is


def confusion(golds: Sequence[str], predictions: Sequence[Label], labels: Sequence[str]) -> Counts:
    """Rows by gold label and predicted label.  [C gold, C predicted]

    >>> confusion(["a", "b", "b"], [Label(label, {}) for label in "aab"], ["a", "b"]).tolist()
    [[1, 0], [1, 1]]
    """
    index = {label: position for position, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for (gold, predicted), count in Counter((gold, one.label) for gold, one in paired(golds, predictions)).items():
        if gold not in index or predicted not in index:
            raise ValueError(f"label {gold if gold not in index else predicted!r} is not one of {', '.join(labels)}")
        counts[index[gold], index[predicted]] = count
    return counts


def accuracy(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Share of rows whose label is right.

    >>> accuracy(["a", "b"], [Label("a", {}), Label("a", {})])
    0.5
    """
    return float(mean_of(right_rows(golds, predictions).sum(0)))


def micro_f1(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """F1 of all decisions pooled; with one label for each row it equals the accuracy."""
    return accuracy(golds, predictions)


def macro_f1(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Mean F1 of the classes that occur in golds or predictions, each counting the same (as scikit-learn's)."""
    return float(macro_f1_of(_class_sums(golds, predictions)))


def class_reports(golds: Sequence[str], predictions: Sequence[Label]) -> dict[str, ClassReport]:
    """Precision, recall and F1 of each class that occurs; a ratio 0 / 0 is 0."""
    labels = _labels(golds, predictions)
    right, gold, predicted = np.split(_class_sums(golds, predictions), 3)  # [C] each
    columns = (_ratio(right, predicted), _ratio(right, gold), _ratio(2 * right, gold + predicted), gold)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {label: ClassReport(p, r, f1, int(n)) for label, (p, r, f1, n) in zip(labels, rows, strict=True)}


def mcc(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Matthews correlation coefficient of several classes (Gorodkin, 2004): 1 is perfect, 0 is chance.

    Where golds or predictions are all of one class it is 0 by convention, as in scikit-learn, also for equal ones.
    """
    return float(mcc_of(_class_sums(golds, predictions)))


def ece(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Expected calibration error: |confidence - accuracy|, averaged over the rows (Guo et al., 2017); lower is better.

    Confidence is the probability of the predicted label; the 15 bins are of equal width, (k/15, (k+1)/15].
    """
    return float(ece_of(calibration_rows(golds, predictions).sum(0)))


def brier(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Mean over rows of the squared distance between probabilities and truth (Brier, 1950): 0 to 2; lower is better.

    This is the original sum over classes; for two classes it is twice scikit-learn's default for them.
    """
    return float(mean_of(brier_rows(golds, predictions).sum(0)))


# ------------------------------------------------- each metric as a function of sums over rows: what resampling needs
def right_rows(golds: Sequence[str], predictions: Sequence[Label]) -> Floats:
    """Is it right, and 1.  [N, 2]"""
    return np.array([(gold == one.label, 1) for gold, one in paired(golds, predictions)], np.float64)


def brier_rows(golds: Sequence[str], predictions: Sequence[Label]) -> Floats:
    """Squared distance, and 1.  [N, 2]"""
    return np.array([(_brier_of(gold, one), 1) for gold, one in paired(golds, predictions)], np.float64)


def mean_of(sums: Floats) -> Floats:
    """[..., 2] -> [...]"""
    return sums[..., 0] / sums[..., 1]


def calibration_rows(golds: Sequence[str], predictions: Sequence[Label]) -> Floats:
    """Confidence minus correctness in the column of its bin, and 1 in the last.  [N, bins + 1]"""
    pairs = paired(golds, predictions)
    confidence = np.array([one.scores[one.label] for _, one in pairs], np.float64)  # [N]
    right = np.array([gold == one.label for gold, one in pairs], np.float64)  # [N]
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    rows = np.zeros((len(pairs), ECE_BINS + 1))
    rows[np.arange(len(pairs)), bins] = confidence - right
    rows[:, -1] = 1
    return rows


def ece_of(sums: Floats) -> Floats:
    """[..., bins + 1] -> [...]"""
    return np.asarray(np.abs(sums[..., :-1]).sum(-1) / sums[..., -1])


def class_rows(golds: Sequence[str], predictions: Sequence[Label]) -> Floats:
    """One-hot for each row: the class if right, the gold class, the predicted class.  [N, 3C]"""
    labels = _labels(golds, predictions)
    index = {label: position for position, label in enumerate(labels)}
    gold = np.array([index[label] for label in golds])  # [N]
    predicted = np.array([index[one.label] for one in predictions])  # [N]
    rows, count = np.arange(len(gold)), len(labels)
    one_hot = np.zeros((len(gold), 3 * count))
    one_hot[rows, gold] = gold == predicted
    one_hot[rows, count + gold] = 1
    one_hot[rows, 2 * count + predicted] = 1
    return one_hot


def macro_f1_of(sums: Floats) -> Floats:
    """[..., 3C] -> [...]"""
    right, gold, predicted = np.split(sums, 3, axis=-1)  # [..., C] each
    return np.asarray(_ratio(2 * right, gold + predicted).sum(-1) / (gold + predicted > 0).sum(-1))


def mcc_of(sums: Floats) -> Floats:
    """[..., 3C] -> [...]"""
    right, gold, predicted = np.split(sums, 3, axis=-1)  # [..., C] each
    total = gold.sum(-1)
    covariance = right.sum(-1) * total - (gold * predicted).sum(-1)
    spread = (total**2 - (gold**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return _ratio(covariance, np.sqrt(spread))


def _brier_of(gold: str, prediction: Label) -> float:
    others = sum(p * p for label, p in prediction.scores.items() if label != gold)
    return (1.0 - prediction.scores.get(gold, 0.0)) ** 2 + others


def paired(golds: Sequence[str], predictions: Sequence[Label]) -> list[tuple[str, Label]]:
    """Gold and prediction of each row. Raises ``ValueError`` where one is missing or there are none."""
    if not len(golds) == len(predictions) > 0:
        raise ValueError(
            f"{len(golds)} gold labels for {len(predictions)} predictions: a score needs at least one, and as many"
        )
    return list(zip(golds, predictions, strict=True))


def _labels(golds: Sequence[str], predictions: Sequence[Label]) -> list[str]:
    return sorted({label for gold, one in paired(golds, predictions) for label in (gold, one.label)})


def _class_sums(golds: Sequence[str], predictions: Sequence[Label]) -> Floats:
    """``class_rows`` summed, without the rows in memory.  [3C]"""
    table = confusion(golds, predictions, _labels(golds, predictions))
    return np.concatenate([np.diag(table), table.sum(1), table.sum(0)]).astype(np.float64)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
