"""Cheap baselines, shown beside every model, also when they win. To add one: write its file, name its task here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from lathe.core.types import Predictor, Row
from lathe.models.baselines.answers import rarest_words
from lathe.models.baselines.choices import tfidf_choice
from lathe.models.baselines.copies import copy_or_lead
from lathe.models.baselines.frames import frequent_frame
from lathe.models.baselines.happenings import frequent_events
from lathe.models.baselines.items import nearest_items, popular_items
from lathe.models.baselines.labels import OneLabel, TfidfLogistic, tfidf_logistic
from lathe.models.baselines.numbers import tfidf_ridge
from lathe.models.baselines.rankings import BM25, BM25Search, bm25_or_ridge
from lathe.models.baselines.relations import likely_relations
from lathe.models.baselines.replies import nearest_answer
from lathe.models.baselines.several import tfidf_logistic_each
from lathe.models.baselines.tags import frequent_tag

Fit: TypeAlias = Callable[[Sequence[Row]], Predictor]

_OF_ROWS: Mapping[str, Fit] = {
    "answer": rarest_words,
    "chat": nearest_answer,
    "choose": tfidf_choice,
    "classify": tfidf_logistic,
    "event": frequent_events,
    "embed": bm25_or_ridge,
    "intent": frequent_frame,
    "multilabel": tfidf_logistic_each,
    "rank": bm25_or_ridge,
    "score": tfidf_ridge,
    "tag": frequent_tag,
    "transform": copy_or_lead,
}
_OF_ROWS_AND_TASK: Mapping[str, Callable[[Sequence[Row], Any], Predictor]] = {
    "recommend": nearest_items,
    "relate": likely_relations,
}


def baseline(task: Any, rows: Sequence[Row]) -> Predictor:
    """What a model of this task has to beat, fitted on its training rows."""
    fit = _OF_ROWS_AND_TASK.get(task.kind)
    return _OF_ROWS[task.kind](rows) if fit is None else fit(rows, task)


__all__ = [
    "BM25",
    "BM25Search",
    "OneLabel",
    "TfidfLogistic",
    "baseline",
    "bm25_or_ridge",
    "copy_or_lead",
    "frequent_events",
    "frequent_frame",
    "frequent_tag",
    "likely_relations",
    "nearest_answer",
    "nearest_items",
    "popular_items",
    "rarest_words",
    "tfidf_choice",
    "tfidf_logistic",
    "tfidf_logistic_each",
    "tfidf_ridge",
]
