"""The answer to the question that is most like the one asked: what an assistant has to beat."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from lathe.core.predictions import Prediction, Text
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.words import terms

QUESTIONS_AT_ONCE = 256


def nearest_answer(rows: Sequence[Row]) -> Predictor:
    """By TF-IDF of the last turn of the user; the most frequent answer where no word is shared. Rows have messages."""
    answers = [row["messages"][-1].content for row in rows]
    usual = Counter(answers).most_common(1)[0][0]
    questions = [_asked(row) for row in rows]
    if not any(map(terms, questions)):
        return lambda asked: [Text(usual)] * len(asked)
    vectorizer = TfidfVectorizer(analyzer=terms, sublinear_tf=True)
    known = vectorizer.fit_transform(questions)  # [N, terms], rows of norm 1

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        asked = [_asked(as_row(row)) for row in rows]
        found: list[Prediction] = []
        for start in range(0, len(asked), QUESTIONS_AT_ONCE):
            alike = (vectorizer.transform(asked[start : start + QUESTIONS_AT_ONCE]) @ known.T).toarray()  # [B, N]
            best = np.argmax(alike, 1)
            found += [Text(answers[i]) if row[i] > 0 else Text(usual) for row, i in zip(alike, best, strict=True)]
        return found

    return predict


def _asked(row: Row) -> str:
    """What was said last to the assistant."""
    if "messages" not in row:
        return str(row["text"])
    return str(next(message.content for message in reversed(row["messages"]) if message.role != "assistant"))
