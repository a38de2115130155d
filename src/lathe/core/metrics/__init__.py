"""Metrics: ``metric(golds, predictions) -> float``, one module for each kind of answer.

Each is a plain function, equal to the field's reference implementation; ``METRICS`` names them, says which way is up,
and writes each as a function of sums over rows or of how often each row is drawn, so that intervals need no second
pass over the predictions. No rows have no score: every metric raises ``ValueError`` for them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from lathe.core.metrics import answers, classification, numbers, order, rankings, rouge, spans, structures, translation
from lathe.core.metrics.answers import (
    answer_f1,
    cmrc_exact_match,
    cmrc_f1,
    exact_match,
    squad_exact_match,
    squad_f1,
)
from lathe.core.metrics.classification import (
    ClassReport,
    accuracy,
    brier,
    class_reports,
    confusion,
    ece,
    macro_f1,
    macro_precision,
    macro_recall,
    mcc,
    micro_f1,
    micro_precision,
    micro_recall,
)
from lathe.core.metrics.numbers import pearson, rmse, spearman
from lathe.core.metrics.order import auroc, average_precision, micro_auroc, micro_average_precision
from lathe.core.metrics.rouge import rouge1, rouge1_stemmed, rouge2, rouge2_stemmed, rouge_l, rouge_l_stemmed
from lathe.core.metrics.spans import SpanCounts, entity_f1, entity_precision, entity_recall, span_counts, span_reports
from lathe.core.metrics.structures import (
    argument_f1,
    argument_identification_f1,
    frame_accuracy,
    intent_accuracy,
    relation_boundaries_f1,
    relation_entity_f1,
    relation_f1,
    slot_f1,
    trigger_f1,
    trigger_identification_f1,
)
from lathe.core.metrics.sums import Floats, OfSums, RowsOf, f1_of, mean_of, precision_of, recall_of
from lathe.core.metrics.translation import bleu, bleu_13a, bleu_zh, chrf, ter
from lathe.core.types import Metric

IN_PERCENT = frozenset(["bleu", "bleu_13a", "bleu_zh", "chrf", "ter"])
"""Metrics whose best, or worst, is 100 instead of 1, as everyone states them."""
CUTS = (1, 5, 10, 100)
"""Places of a ranking that its metrics look at."""


class Measure(NamedTuple):
    """A metric, the same as ``of_sums(rows(golds, predictions).sum(0))``, and its direction."""

    metric: Metric
    rows: RowsOf  # [N, K]
    of_sums: OfSums  # [..., K] -> [...]
    higher_is_better: bool = True


class OrderMeasure(NamedTuple):
    """A metric that needs all rows in order, the same as ``of_draws`` of each row once, and its direction."""

    metric: Metric
    rows: RowsOf  # [N, K]
    of_draws: Callable[[Floats, Floats], Floats]  # rows [N, K], how often each is drawn [R, N] -> [R]
    higher_is_better: bool = True


def _ranked(value: Callable[..., float]) -> Measure:
    rows = partial(rankings.ranking_rows, value)
    return Measure(partial(rankings.ranking_mean, rows), rows, rankings.sought_mean_of)


_OF_LABELS: dict[str, Measure | OrderMeasure] = {
    "accuracy": Measure(accuracy, classification.right_rows, mean_of),
    "macro_f1": Measure(macro_f1, classification.class_rows, classification.macro_f1_of),
    "macro_precision": Measure(macro_precision, classification.class_rows, classification.macro_precision_of),
    "macro_recall": Measure(macro_recall, classification.class_rows, classification.macro_recall_of),
    "micro_f1": Measure(micro_f1, classification.decision_rows, f1_of),
    "micro_precision": Measure(micro_precision, classification.decision_rows, precision_of),
    "micro_recall": Measure(micro_recall, classification.decision_rows, recall_of),
    "mcc": Measure(mcc, classification.class_rows, classification.mcc_of),
    "ece": Measure(ece, classification.calibration_rows, classification.ece_of, higher_is_better=False),
    "brier": Measure(brier, classification.brier_rows, mean_of, higher_is_better=False),
    "auroc": OrderMeasure(auroc, order.score_rows, order.auroc_of),
    "micro_auroc": OrderMeasure(micro_auroc, order.score_rows, order.micro_auroc_of),
    "average_precision": OrderMeasure(average_precision, order.score_rows, order.average_precision_of),
    "micro_average_precision": OrderMeasure(
        micro_average_precision, order.score_rows, order.micro_average_precision_of
    ),
}
_OF_NUMBERS: dict[str, Measure | OrderMeasure] = {
    "pearson": Measure(pearson, numbers.moment_rows, numbers.pearson_of),
    "spearman": OrderMeasure(spearman, numbers.number_rows, numbers.spearman_of),
    "rmse": Measure(rmse, numbers.squared_rows, numbers.rmse_of, higher_is_better=False),
}
_OF_SPANS: dict[str, Measure | OrderMeasure] = {
    "entity_f1": Measure(entity_f1, spans.span_rows, f1_of),
    "entity_precision": Measure(entity_precision, spans.span_rows, precision_of),
    "entity_recall": Measure(entity_recall, spans.span_rows, recall_of),
    "relation_f1": Measure(relation_f1, structures.relation_rows, f1_of),
    "relation_boundaries_f1": Measure(relation_boundaries_f1, structures.relation_boundaries_rows, f1_of),
    "relation_entity_f1": Measure(relation_entity_f1, structures.relation_entity_rows, f1_of),
    "trigger_f1": Measure(trigger_f1, structures.trigger_rows, f1_of),
    "trigger_identification_f1": Measure(trigger_identification_f1, structures.trigger_identification_rows, f1_of),
    "argument_f1": Measure(argument_f1, structures.argument_rows, f1_of),
    "argument_identification_f1": Measure(argument_identification_f1, structures.argument_identification_rows, f1_of),
    "frame_accuracy": Measure(frame_accuracy, structures.frame_rows, mean_of),
    "intent_accuracy": Measure(intent_accuracy, structures.intent_rows, mean_of),
    "slot_f1": Measure(slot_f1, structures.slot_rows, f1_of),
}
_OF_TEXTS: dict[str, Measure | OrderMeasure] = {
    "exact_match": Measure(exact_match, answers.exact_rows, mean_of),
    "answer_f1": Measure(answer_f1, answers.f1_rows, mean_of),
    "squad_exact_match": Measure(squad_exact_match, answers.squad_exact_rows, mean_of),
    "squad_f1": Measure(squad_f1, answers.squad_f1_rows, mean_of),
    "cmrc_exact_match": Measure(cmrc_exact_match, answers.cmrc_exact_rows, mean_of),
    "cmrc_f1": Measure(cmrc_f1, answers.cmrc_f1_rows, mean_of),
    "bleu": Measure(bleu, translation.bleu_rows, translation.bleu_of),
    "bleu_13a": Measure(bleu_13a, translation.bleu_13a_rows, translation.bleu_of),
    "bleu_zh": Measure(bleu_zh, translation.bleu_zh_rows, translation.bleu_of),
    "chrf": Measure(chrf, translation.chrf_rows, translation.chrf_of),
    "ter": Measure(ter, translation.ter_rows, translation.ter_of, higher_is_better=False),
    "rouge1": Measure(rouge1, rouge.rouge1_rows, mean_of),
    "rouge2": Measure(rouge2, rouge.rouge2_rows, mean_of),
    "rouge_l": Measure(rouge_l, rouge.rouge_l_rows, mean_of),
    "rouge1_stemmed": Measure(rouge1_stemmed, rouge.rouge1_stemmed_rows, mean_of),
    "rouge2_stemmed": Measure(rouge2_stemmed, rouge.rouge2_stemmed_rows, mean_of),
    "rouge_l_stemmed": Measure(rouge_l_stemmed, rouge.rouge_l_stemmed_rows, mean_of),
}
_OF_RANKINGS: dict[str, Measure | OrderMeasure] = {
    "mrr": _ranked(rankings.reciprocal_rank),
    "map": _ranked(rankings.precision_at_hits),
    **{f"ndcg@{k}": _ranked(partial(rankings.ndcg, k=k)) for k in CUTS},
    **{f"recall@{k}": _ranked(partial(rankings.recall, k=k)) for k in CUTS},
    **{f"hit_rate@{k}": _ranked(partial(rankings.hit, k=k)) for k in CUTS},
    **{f"mrr@{k}": _ranked(partial(rankings.reciprocal_rank, k=k)) for k in CUTS},
}

METRICS: Mapping[str, Measure | OrderMeasure] = _OF_LABELS | _OF_NUMBERS | _OF_SPANS | _OF_TEXTS | _OF_RANKINGS
"""All metrics by name. Those of a kind of answer take that kind alone; labels may be one for a text or several."""

__all__ = [
    "METRICS",
    "ClassReport",
    "Measure",
    "OrderMeasure",
    "SpanCounts",
    "accuracy",
    "answer_f1",
    "argument_f1",
    "argument_identification_f1",
    "auroc",
    "average_precision",
    "bleu",
    "bleu_13a",
    "bleu_zh",
    "brier",
    "chrf",
    "class_reports",
    "cmrc_exact_match",
    "cmrc_f1",
    "confusion",
    "ece",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "exact_match",
    "frame_accuracy",
    "intent_accuracy",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "mcc",
    "micro_auroc",
    "micro_average_precision",
    "micro_f1",
    "micro_precision",
    "micro_recall",
    "pearson",
    "relation_boundaries_f1",
    "relation_entity_f1",
    "relation_f1",
    "rmse",
    "rouge1",
    "rouge1_stemmed",
    "rouge2",
    "rouge2_stemmed",
    "rouge_l",
    "rouge_l_stemmed",
    "slot_f1",
    "span_counts",
    "span_reports",
    "spearman",
    "squad_exact_match",
    "squad_f1",
    "ter",
    "trigger_f1",
    "trigger_identification_f1",
]
