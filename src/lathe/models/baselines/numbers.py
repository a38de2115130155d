"""TF-IDF with a linear regression: what a model that gives numbers has to beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import FunctionTransformer

from lathe.core.predictions import Number, Prediction
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.labels import tfidf
from lathe.models.baselines.words import terms_of


def tfidf_ridge(rows: Sequence[Row]) -> Predictor:
    """Ridge regression over TF-IDF, and of two texts over their cosine too; rows have text, maybe text_pair, and score.

    Where no text has a word, the mean score.
    """
    mean = float(np.mean([row["score"] for row in rows]))
    if not any(map(terms_of, rows)):
        return lambda rows: [Number(mean) for _ in rows]
    alone = tfidf(len(rows)).fit([one for row in rows for one in _texts(row)])

    def cosines(rows: Sequence[Row]) -> Any:
        """[N, 1]"""
        first, second = (alone.transform(texts) for texts in zip(*map(_texts, rows), strict=True))
        return np.asarray(first.multiply(second).sum(1))

    features = FeatureUnion([("terms", tfidf(len(rows))), ("cosine", FunctionTransformer(cosines))])
    model = Ridge(alpha=1.0).fit(features.fit_transform(rows), [row["score"] for row in rows])

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        return [*map(Number, model.predict(features.transform([*map(as_row, rows)])).tolist())] if rows else []

    return predict


def _texts(row: Row) -> tuple[Row, Row]:
    """The two texts of a row, each as a row; the second is empty where there is one."""
    return {"text": row["text"]}, {"text": row.get("text_pair", "")}
