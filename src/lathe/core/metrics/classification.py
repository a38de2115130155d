"""Metrics of labels: one for each text, or any number. C classes, N rows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.metrics.sums import (
    Floats,
    check_rows,
    f1_of,
    mean_of,
    paired,
    precision_of,
    ratio,
    recall_of,
    set_row,
    total,
)
from lathe.core.predictions import Choice, Label, Labels

Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
LabelGold: TypeAlias = str | Sequence[str]
LabelSaid: TypeAlias = Label | Labels

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


def accuracy(golds: Sequence[LabelGold | int], predictions: Sequence[LabelSaid | Choice]) -> float:
    """Share of rows that are right: the label, all labels and no other ("subset accuracy"), or the answer chosen.

    >>> accuracy(["a", "b"], [Label("a", {}), Label("a", {})]), accuracy([("a", "b")], [Labels(("b", "a"), {})])
    (0.5, 1.0)
    """
    return float(mean_of(total(right_rows, golds, predictions)))


def micro_f1(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """F1 of all decisions pooled; with one label for each row it equals the accuracy.

    Where no row has a label and none is given it is 1, as for spans.
    """
    return float(f1_of(total(decision_rows, golds, predictions)))


def micro_precision(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Share of the labels given that are right."""
    return float(precision_of(total(decision_rows, golds, predictions)))


def micro_recall(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Share of the gold labels that were given."""
    return float(recall_of(total(decision_rows, golds, predictions)))


def macro_f1(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Mean F1 of the classes that occur in golds or predictions, each counting the same (as scikit-learn's)."""
    return float(macro_f1_of(_class_counts(golds, predictions)[1]))


def macro_precision(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Mean precision of the classes that occur in golds or predictions; of one that is never predicted it is 0."""
    return float(macro_precision_of(_class_counts(golds, predictions)[1]))


def macro_recall(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> float:
    """Mean recall of the classes that occur in golds or predictions; of one that is in no gold it is 0."""
    return float(macro_recall_of(_class_counts(golds, predictions)[1]))


def class_reports(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> dict[str, ClassReport]:
    """Precision, recall and F1 of each class that occurs; a ratio 0 / 0 is 0."""
    labels, counts = _class_counts(golds, predictions)
    right, gold, predicted = np.split(counts, 3)  # [C] each
    columns = (ratio(right, predicted), ratio(right, gold), ratio(2 * right, gold + predicted), gold)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {label: ClassReport(p, r, f1, int(n)) for label, (p, r, f1, n) in zip(labels, rows, strict=True)}


def mcc(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Matthews correlation coefficient of several classes (Gorodkin, 2004): 1 is perfect, 0 is chance.

    Where golds or predictions are all of one class it is 0 by convention, as in scikit-learn, also for equal ones.
    """
    table = confusion(golds, predictions, sorted({*golds, *(one.label for one in predictions)}))
    return float(mcc_of(np.concatenate([np.diag(table), table.sum(1), table.sum(0)]).astype(np.float64)))


def ece(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Expected calibration error: |confidence - accuracy|, averaged over the rows (Guo et al., 2017); lower is better.

    Confidence is the probability of the predicted label; the 15 bins are of equal width, (k/15, (k+1)/15].
    """
    return float(ece_of(total(calibration_rows, golds, predictions)))


def brier(golds: Sequence[str], predictions: Sequence[Label]) -> float:
    """Mean over rows of the squared distance between probabilities and truth (Brier, 1950): 0 to 2; lower is better.

    This is the original sum over classes; for two classes it is twice scikit-learn's default for them.
    """
    return float(mean_of(total(brier_rows, golds, predictions)))


# ------------------------------------------------- each metric as a function of sums over rows: what resampling needs
def right_rows(golds: Sequence[LabelGold | int], predictions: Sequence[LabelSaid | Choice]) -> Floats:
    """Is it right, and 1.  [N, 2]"""
    return np.array([(_is_right(gold, one), 1) for gold, one in paired(golds, predictions)], np.float64)


def decision_rows(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> Floats:
    """Right, predicted and gold labels of each row.  [N, 3]"""
    return np.array([set_row(label_set(gold), label_set(one)) for gold, one in paired(golds, predictions)], np.float64)


def brier_rows(golds: Sequence[str], predictions: Sequence[Label]) -> Floats:
    """Squared distance, and 1.  [N, 2]"""
    return np.array([(_brier_of(gold, one), 1) for gold, one in paired(golds, predictions)], np.float64)


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


def class_rows(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> Floats:
    """1 for each row at its classes that are right, its gold classes, its predicted classes.  [N, 3C]"""
    rows = [(label_set(gold), label_set(one)) for gold, one in paired(golds, predictions)]
    index = {label: place for place, label in enumerate(sorted({label for row in rows for label in row[0] | row[1]}))}
    marks = [
        (row, part, index[label])
        for row, (gold, said) in enumerate(rows)
        for part, labels in enumerate((gold & said, gold, said))
        for label in labels
    ]
    hot = np.zeros((len(rows), 3, len(index)))
    hot[tuple(np.array(marks, np.int64).reshape(-1, 3).T)] = 1
    return hot.reshape(len(rows), -1)


def macro_f1_of(sums: Floats) -> Floats:
    """[..., 3C] -> [...]"""
    right, gold, predicted = np.split(sums, 3, axis=-1)  # [..., C] each
    return _mean_of_occurring(ratio(2 * right, gold + predicted), gold + predicted)


def macro_precision_of(sums: Floats) -> Floats:
    """[..., 3C] -> [...]"""
    right, gold, predicted = np.split(sums, 3, axis=-1)  # [..., C] each
    return _mean_of_occurring(ratio(right, predicted), gold + predicted)


def macro_recall_of(sums: Floats) -> Floats:
    """[..., 3C] -> [...]"""
    right, gold, predicted = np.split(sums, 3, axis=-1)  # [..., C] each
    return _mean_of_occurring(ratio(right, gold), gold + predicted)


def mcc_of(sums: Floats) -> Floats:
    """[..., 3C] -> [...]"""
    right, gold, predicted = np.split(sums, 3, axis=-1)  # [..., C] each
    count = gold.sum(-1)
    covariance = right.sum(-1) * count - (gold * predicted).sum(-1)
    spread = (count**2 - (gold**2).sum(-1)) * (count**2 - (predicted**2).sum(-1))
    return ratio(covariance, np.sqrt(spread))


def _brier_of(gold: str, prediction: Label) -> float:
    others = sum(p * p for label, p in prediction.scores.items() if label != gold)
    return (1.0 - prediction.scores.get(gold, 0.0)) ** 2 + others


def label_set(labels: LabelGold | LabelSaid) -> set[str]:
    """The labels of a row, be it one or many, gold or predicted."""
    if isinstance(labels, Labels):
        return set(labels.labels)
    single = labels.label if isinstance(labels, Label) else labels
    return {single} if isinstance(single, str) else set(single)


def _is_right(gold: LabelGold | int, prediction: LabelSaid | Choice) -> bool:
    if isinstance(prediction, Choice):
        return gold == prediction.index
    return not isinstance(gold, int) and label_set(gold) == label_set(prediction)


def _class_counts(golds: Sequence[LabelGold], predictions: Sequence[LabelSaid]) -> tuple[list[str], Floats]:
    """The classes that occur, and ``class_rows`` summed, without the rows in memory.  [3C]"""
    check_rows(golds, predictions)
    right, wanted, predicted = Counter[str](), Counter[str](), Counter[str]()
    for gold, one in zip(golds, predictions, strict=True):
        here, there = label_set(gold), label_set(one)
        right.update(here & there)
        wanted.update(here)
        predicted.update(there)
    labels = sorted(wanted | predicted)
    return labels, np.array([counts[label] for counts in (right, wanted, predicted) for label in labels], np.float64)


def _mean_of_occurring(values: Floats, counts: Floats) -> Floats:
    """Mean over the classes that occur, where others are 0; 1 where none does.  [..., C] each -> [...]"""
    occurring = (counts > 0).sum(-1)
    return np.where(occurring > 0, values.sum(-1) / np.maximum(occurring, 1), 1.0)
