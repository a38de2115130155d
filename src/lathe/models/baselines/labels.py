"""TF-IDF with logistic regression: what a text classifier has to beat."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lathe.core.predictions import Label, Prediction
from lathe.core.types import Row, as_row
from lathe.models.baselines.words import terms


def tfidf_logistic(rows: Sequence[Row]) -> "TfidfLogistic | OneLabel":
    """TF-IDF over words and word pairs (characters in Chinese) with logistic regression; rows have text and label.

    Where the rows leave nothing to learn, their most frequent label.
    """
    usual = Counter(row["label"] for row in rows).most_common(1)[0][0]
    if len({row["label"] for row in rows}) == 1 or not any(terms(row["text"]) for row in rows):
        return OneLabel(usual)
    vectorizer = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2 if len(rows) >= 1000 else 1)
    classifier = LogisticRegression(C=10.0, solver="saga", tol=1e-3, max_iter=300, random_state=0)
    classifier.fit(vectorizer.fit_transform([row["text"] for row in rows]), [row["label"] for row in rows])
    return TfidfLogistic(vectorizer, classifier)


@dataclass(frozen=True)
class OneLabel:
    """The same label for every text."""

    label: str
    size_bytes: int = 0

    def __call__(self, rows: Sequence[Row | str]) -> list[Prediction]:
        return [Label(self.label, {self.label: 1.0}) for _ in rows]


@dataclass(frozen=True)
class TfidfLogistic:
    """A predictor of labels."""

    vectorizer: TfidfVectorizer
    classifier: LogisticRegression

    def __call__(self, rows: Sequence[Row | str]) -> list[Prediction]:
        if not rows:
            return []
        names = [str(name) for name in self.classifier.classes_]
        features = self.vectorizer.transform([as_row(row)["text"] for row in rows])
        scores = self.classifier.predict_proba(features)  # [B, C]
        return [Label(names[int(s.argmax())], dict(zip(names, s.tolist(), strict=True))) for s in scores]

    @property
    def size_bytes(self) -> int:
        """What it must remember: the terms, their weights as float32, and their frequencies."""
        terms = sum(len(term.encode("utf-8")) for term in self.vectorizer.vocabulary_)
        weights = self.classifier.coef_.size + self.classifier.intercept_.size + self.vectorizer.idf_.size
        return int(terms + 4 * weights)
