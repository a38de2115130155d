"""Cheap baselines, shown beside every model, also when they win. To add one: write its file, name its task here."""

from collections.abc import Callable, Mapping, Sequence

from lathe.core.types import Predictor, Row
from lathe.models.baselines.answers import rarest_words
from lathe.models.baselines.choices import tfidf_choice
from lathe.models.baselines.copies import copy_or_lead
from lathe.models.baselines.frames import frequent_frame
from lathe.models.baselines.labels import OneLabel, TfidfLogistic, tfidf_logistic
from lathe.models.baselines.numbers import tfidf_ridge
from lathe.models.baselines.replies import nearest_answer
from lathe.models.baselines.several import tfidf_logistic_each
from lathe.models.baselines.tags import frequent_tag

BASELINES: Mapping[str, Callable[[Sequence[Row]], Predictor]] = {
    "answer": rarest_words,
    "chat": nearest_answer,
    "choose": tfidf_choice,
    "classify": tfidf_logistic,
    "intent": frequent_frame,
    "multilabel": tfidf_logistic_each,
    "score": tfidf_ridge,
    "tag": frequent_tag,
    "transform": copy_or_lead,
}
"""By kind of task, what to fit on its training rows."""

__all__ = [
    "BASELINES",
    "OneLabel",
    "TfidfLogistic",
    "copy_or_lead",
    "frequent_frame",
    "frequent_tag",
    "nearest_answer",
    "rarest_words",
    "tfidf_choice",
    "tfidf_logistic",
    "tfidf_logistic_each",
    "tfidf_ridge",
]
