"""What is taken most, and what is taken by those who took the same: what a model of histories has to beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from lathe.core.metrics.sums import Floats
from lathe.core.predictions import Prediction, Ranking
from lathe.core.search import DEPTH
from lathe.core.types import Predictor, Row, as_row


def popular_items(rows: Sequence[Row], task: Any) -> Predictor:
    """The items that most histories have."""
    return _Items(rows, task.repeats, near=False)


def nearest_items(rows: Sequence[Row], task: Any) -> Predictor:
    """The items whose users are most like those of the history: the sum of their cosines with each of its items
    (Sarwar et al., 2001); of equal ones what is taken more. Rows have history and item.
    """
    return _Items(rows, task.repeats, near=True)


class _Items:
    """Cosines of items by who took them, [I, U] * [U, I], are never written down: a history goes through both sides."""

    def __init__(self, rows: Sequence[Row], repeats: bool, near: bool) -> None:
        whole = [_whole(row) for row in rows]
        self._counter = CountVectorizer(analyzer=tuple, binary=True)
        counts = self._counter.fit_transform(whole)  # [U, I]
        self._names: Any = self._counter.get_feature_names_out()
        self._counts: Floats = np.asarray(counts.sum(0), np.float64)[0]
        self._taken: Any = normalize(counts.astype(np.float64), axis=0) if near else None
        self._repeats = repeats

    def __call__(self, rows: Sequence[Row | str]) -> list[Prediction]:
        return [self._ranked(as_row(row)["history"]) for row in rows]

    def _ranked(self, history: Sequence[str]) -> Ranking:
        own = self._counter.transform([history])  # [1, I]
        scores = self._counts / self._counts.sum()
        if self._taken is not None:  # which item is taken more matters where cosines agree
            scores = 1e-6 * scores + np.asarray((own @ self._taken.T @ self._taken).todense())[0]
        if not self._repeats:
            scores[own.indices] = -np.inf
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        best = best[scores[best] > -np.inf]
        return Ranking(tuple(self._names[best].tolist()), tuple(scores[best].tolist()))


def _whole(row: Row) -> tuple[str, ...]:
    return (*row["history"], row["item"])
