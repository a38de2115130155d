"""Metrics of labelled spans: a prediction counts if start, end and label are all right, on characters of the text.

Equal to seqeval in its strict mode, and to ``conlleval``, where spans come from token tags.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.predictions import Span, Spans

Golds: TypeAlias = Sequence[Sequence[Span]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class SpanCounts(NamedTuple):
    """What precision, recall and F1 are made of: counts add up over rows, ratios do not.

    A ratio 0 / 0 is 0, as in seqeval; but where there was nothing to find and nothing was found, all three are 1.
    """

    right: int
    predicted: int
    gold: int

    @property
    def precision(self) -> float:
        return float(precision_of(np.array(self, np.float64)))

    @property
    def recall(self) -> float:
        return float(recall_of(np.array(self, np.float64)))

    @property
    def f1(self) -> float:
        return float(f1_of(np.array(self, np.float64)))


def entity_f1(golds: Golds, predictions: Sequence[Spans]) -> float:
    """Strict F1 of all spans of all rows pooled.

    >>> entity_f1([(Span(0, 5, "LOC"),)], [Spans((Span(0, 5, "LOC"), Span(9, 12, "PER")))])
    0.6666666666666666
    """
    return _total(golds, predictions).f1


def entity_precision(golds: Golds, predictions: Sequence[Spans]) -> float:
    """Share of the predicted spans that are right."""
    return _total(golds, predictions).precision


def entity_recall(golds: Golds, predictions: Sequence[Spans]) -> float:
    """Share of the gold spans that were found."""
    return _total(golds, predictions).recall


def span_counts(gold: Sequence[Span], prediction: Spans) -> SpanCounts:
    """The counts of one row; a span that stands twice counts once."""
    wanted, given = _plain(gold), _plain(prediction.spans)
    return SpanCounts(len(wanted & given), len(given), len(wanted))


def span_reports(golds: Golds, predictions: Sequence[Spans]) -> dict[str, SpanCounts]:
    """The counts of each label that occurs, sorted by name."""
    right, predicted, wanted = Counter[str](), Counter[str](), Counter[str]()
    for gold, prediction in _paired(golds, predictions):
        here, there = _plain(gold), _plain(prediction.spans)
        right.update(label for _, _, label in here & there)
        predicted.update(label for _, _, label in there)
        wanted.update(label for _, _, label in here)
    return {label: SpanCounts(right[label], predicted[label], wanted[label]) for label in sorted(predicted | wanted)}


# ------------------------------------------------- each metric as a function of sums over rows: what resampling needs
def span_rows(golds: Golds, predictions: Sequence[Spans]) -> Floats:
    """Right, predicted and gold spans of each row.  [N, 3]"""
    return np.array([span_counts(gold, prediction) for gold, prediction in _paired(golds, predictions)], np.float64)


def precision_of(sums: Floats) -> Floats:
    """[..., 3] -> [...]"""
    return _ratio(sums[..., 0], sums[..., 1], sums)


def recall_of(sums: Floats) -> Floats:
    """[..., 3] -> [...]"""
    return _ratio(sums[..., 0], sums[..., 2], sums)


def f1_of(sums: Floats) -> Floats:
    """[..., 3] -> [...]"""
    return _ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2], sums)


def _ratio(part: Floats, whole: Floats, sums: Floats) -> Floats:
    nothing_there = sums[..., 1] + sums[..., 2] == 0
    return np.where(whole > 0, part / np.maximum(whole, 1), nothing_there.astype(np.float64))


def _total(golds: Golds, predictions: Sequence[Spans]) -> SpanCounts:
    return SpanCounts(*map(int, span_rows(golds, predictions).sum(0)))


def _plain(spans: Sequence[Span]) -> set[tuple[int, int, str]]:
    return {(span.start, span.end, span.label) for span in spans}


def _paired(golds: Golds, predictions: Sequence[Spans]) -> list[tuple[Sequence[Span], Spans]]:
    if not len(golds) == len(predictions) > 0:
        raise ValueError(
            f"{len(golds)} gold rows for {len(predictions)} predictions: a score needs at least one, and as many"
        )
    return list(zip(golds, predictions, strict=True))
