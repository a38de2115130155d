"""The choice that has most in common with its text: what a model that chooses has to beat."""

from collections.abc import Sequence

import numpy as np

from lathe.core.predictions import Choice, Prediction
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.labels import tfidf


def tfidf_choice(rows: Sequence[Row]) -> Predictor:
    """The highest cosine of TF-IDF with text and question, the first among equals; rows have text and choices.

    Nothing is learnt from the right choices but which words are rare.
    """
    vectorizer = tfidf(len(rows))
    texts = [{"text": text} for row in rows for text in (_asked(row), *row["choices"])]
    is_known = any(map(vectorizer.build_analyzer(), texts))
    if is_known:
        vectorizer.fit(texts)

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        return [_choice(as_row(row)) for row in rows]

    def _choice(row: Row) -> Choice:
        likeness = np.zeros(len(row["choices"]))
        if is_known:
            asked, *choices = vectorizer.transform([{"text": text} for text in (_asked(row), *row["choices"])])
            likeness = np.array([asked.multiply(choice).sum() for choice in choices])
        scores = np.exp(likeness) / np.exp(likeness).sum()
        return Choice(int(scores.argmax()), tuple(scores.tolist()))

    return predict


def _asked(row: Row) -> str:
    return f"{row['text']} {row.get('question', '')}"
