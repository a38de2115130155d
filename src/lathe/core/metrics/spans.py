"""Metrics of labelled spans: a prediction counts if start, end and label are all right, on characters of the text.

Equal to seqeval in its strict mode, and to ``conlleval``, where spans come from token tags.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from lathe.core.metrics.sums import Floats, f1_of, paired, precision_of, recall_of, set_row, total
from lathe.core.predictions import Span, Spans

Golds: TypeAlias = Sequence[Sequence[Span]]


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
    return float(f1_of(total(span_rows, golds, predictions)))


def entity_precision(golds: Golds, predictions: Sequence[Spans]) -> float:
    """Share of the predicted spans that are right."""
    return float(precision_of(total(span_rows, golds, predictions)))


def entity_recall(golds: Golds, predictions: Sequence[Spans]) -> float:
    """Share of the gold spans that were found."""
    return float(recall_of(total(span_rows, golds, predictions)))


def span_counts(gold: Sequence[Span], prediction: Spans) -> SpanCounts:
    """The counts of one row; a span that stands twice counts once."""
    return SpanCounts(*set_row(plain(gold), plain(prediction.spans)))


def span_reports(golds: Golds, predictions: Sequence[Spans]) -> dict[str, SpanCounts]:
    """The counts of each label that occurs, sorted by name."""
    right, predicted, wanted = Counter[str](), Counter[str](), Counter[str]()
    for gold, prediction in paired(golds, predictions):
        here, there = plain(gold), plain(prediction.spans)
        right.update(label for _, _, label in here & there)
        predicted.update(label for _, _, label in there)
        wanted.update(label for _, _, label in here)
    return {label: SpanCounts(right[label], predicted[label], wanted[label]) for label in sorted(predicted | wanted)}


def span_rows(golds: Golds, predictions: Sequence[Spans]) -> Floats:
    """Right, predicted and gold spans of each row.  [N, 3]"""
    return np.array([span_counts(gold, prediction) for gold, prediction in paired(golds, predictions)], np.float64)


def plain(spans: Sequence[Span]) -> set[tuple[int, int, str]]:
    """Spans without their scores."""
    return {(span.start, span.end, span.label) for span in spans}
