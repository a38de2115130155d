"""TF-IDF with logistic regression: what a classifier of texts, or of pairs of texts, has to beat."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lathe.core.predictions import Label, Prediction
from lathe.core.types import Row, as_row
from lathe.models.baselines.words import terms_of


def tfidf_logistic(rows: Sequence[Row]) -> "TfidfLogistic | OneLabel":
    """TF-IDF over words and word pairs (characters in Chinese) with logistic regression; rows have text and label.

    Of two texts each has terms of its own, and what stands in both counts as such.

    Where the rows leave nothing to learn, their most frequent label.
    """
    usual = Counter(row["label"] for row in rows).most_common(1)[0][0]
    if len({row["label"] for row in rows}) == 1 or not any(map(terms_of, rows)):
        return OneLabel(usual)
    vectorizer = tfidf(len(rows))
    classifier = LogisticRegression(C=10.0, solver="saga", tol=1e-3, max_iter=300, random_state=0)
    classifier.fit(vectorizer.fit_transform(rows), [row["label"] for row in rows])
    return TfidfLogistic(vectorizer, classifier)


def tfidf(rows: int) -> TfidfVectorizer:
    """What counts the terms of rows, for training on so many of them."""
    return TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, min_df=2 if rows >= 1000 else 1)


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
        features = self.vectorizer.transform(map(as_row, rows))
        scores = self.classifier.predict_proba(features)  # [B, C]
        return [Label(names[int(s.argmax())], dict(zip(names, s.tolist(), strict=True))) for s in scores]

    @property
    def size_bytes(self) -> int:
        """What it must remember: the terms, their weights as float32, and their frequencies."""
        terms = sum(len(term.encode("utf-8")) for term in self.vectorizer.vocabulary_)
        weights = self.classifier.coef_.size + self.classifier.intercept_.size + self.vectorizer.idf_.size
        return int(terms + 4 * weights)
