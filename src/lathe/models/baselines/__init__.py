"""Cheap baselines, shown beside every model, also when they win. To add one: write its file, name its task here."""

from collections.abc import Callable, Mapping, Sequence

from lathe.core.types import Predictor, Row
from lathe.models.baselines.choices import tfidf_choice
from lathe.models.baselines.labels import OneLabel, TfidfLogistic, tfidf_logistic
from lathe.models.baselines.numbers import tfidf_ridge
from lathe.models.baselines.several import tfidf_logistic_each
from lathe.models.baselines.tags import frequent_tag

BASELINES: Mapping[str, Callable[[Sequence[Row]], Predictor]] = {
    "choose": tfidf_choice,
    "classify": tfidf_logistic,
    "multilabel": tfidf_logistic_each,
    "score": tfidf_ridge,
    "tag": frequent_tag,
}
"""By kind of task, what to fit on its training rows."""

__all__ = [
    "BASELINES",
    "OneLabel",
    "TfidfLogistic",
    "frequent_tag",
    "tfidf_choice",
    "tfidf_logistic",
    "tfidf_logistic_each",
    "tfidf_ridge",
]
