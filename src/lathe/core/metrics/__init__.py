"""Metrics: ``metric(golds, predictions) -> float``, of labels and of spans.

Each is a plain function, equal to the field's reference implementation; ``METRICS`` names them, says which way is up,
and writes each as a function of sums over rows, so that intervals need no second pass over the predictions.
No rows have no score: every metric raises ``ValueError`` for them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lathe.core.metrics import classification, spans
from lathe.core.metrics.classification import (
    ClassReport,
    Floats,
    accuracy,
    brier,
    class_reports,
    confusion,
    ece,
    macro_f1,
    mcc,
    micro_f1,
)
from lathe.core.metrics.spans import SpanCounts, entity_f1, entity_precision, entity_recall, span_counts, span_reports
from lathe.core.types import Metric


class Measure(NamedTuple):
    """A metric, the same as ``of_sums(rows(golds, predictions).sum(0))``, and its direction."""

    metric: Metric
    rows: Callable[[Sequence[Any], Sequence[Any]], Floats]  # [N, K]
    of_sums: Callable[[Floats], Floats]  # [..., K] -> [...]
    higher_is_better: bool = True


METRICS = {
    "accuracy": Measure(accuracy, classification.right_rows, classification.mean_of),
    "macro_f1": Measure(macro_f1, classification.class_rows, classification.macro_f1_of),
    "micro_f1": Measure(micro_f1, classification.right_rows, classification.mean_of),
    "mcc": Measure(mcc, classification.class_rows, classification.mcc_of),
    "ece": Measure(ece, classification.calibration_rows, classification.ece_of, higher_is_better=False),
    "brier": Measure(brier, classification.brier_rows, classification.mean_of, higher_is_better=False),
    "entity_f1": Measure(entity_f1, spans.span_rows, spans.f1_of),
    "entity_precision": Measure(entity_precision, spans.span_rows, spans.precision_of),
    "entity_recall": Measure(entity_recall, spans.span_rows, spans.recall_of),
}

__all__ = [
    "METRICS",
    "ClassReport",
    "Measure",
    "SpanCounts",
    "accuracy",
    "brier",
    "class_reports",
    "confusion",
    "ece",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "macro_f1",
    "mcc",
    "micro_f1",
    "span_counts",
    "span_reports",
]
