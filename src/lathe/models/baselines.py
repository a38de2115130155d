"""Cheap baselines, shown beside every model, also when they win."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lathe.core.tagging import Offsets, spans_of_tags, tags_of_spans
from lathe.core.types import Label, Prediction, Predictor, Row, Spans, as_row

_WORD = re.compile(r"[^\W_]+|_+|[^\w\s]")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def baseline(kind: str) -> Callable[[Sequence[Row]], Predictor]:
    """What to fit on the training rows of a task of this kind."""
    fits: dict[str, Callable[[Sequence[Row]], Predictor]] = {"classify": tfidf_logistic, "tag": frequent_tag}
    return fits[kind]


def tfidf_logistic(rows: Sequence[Row]) -> "TfidfLogistic | OneLabel":
    """TF-IDF over words and word pairs (characters in Chinese) with logistic regression; rows have text and label.

    Where the rows leave nothing to learn, their most frequent label.
    """
    usual = Counter(row["label"] for row in rows).most_common(1)[0][0]
    if len({row["label"] for row in rows}) == 1 or not any(_terms(row["text"]) for row in rows):
        return OneLabel(usual)
    vectorizer = TfidfVectorizer(analyzer=_terms, sublinear_tf=True, min_df=2 if len(rows) >= 1000 else 1)
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


def frequent_tag(rows: Sequence[Row]) -> Predictor:
    """Each word's most frequent tag in the training rows, O for new words; rows have text and spans."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        words = _words(row)
        for (start, end), tag in zip(words, tags_of_spans(row["spans"], words), strict=True):
            counts[row["text"][start:end]][tag] += 1
    usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        answers: list[Prediction] = []
        for row in map(as_row, rows):
            words = _words(row)
            tags = tuple(usual.get(row["text"][start:end], "O") for start, end in words)
            answers.append(Spans(spans_of_tags(tags, words), tags if "offsets" in row else None))
        return answers

    return predict


def _terms(text: str) -> list[str]:
    """Words and their pairs; a CJK character is a word of its own, since nothing parts the words there."""
    words = [w for part in _WORD.findall(text.lower()) for w in (list(part) if _CJK.search(part) else [part])]
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def _words(row: Row) -> Offsets:
    if "offsets" in row:
        return tuple(row["offsets"])
    found = [(m.start(), m.end()) for m in _WORD.finditer(row["text"])]
    return tuple(
        piece
        for start, end in found
        for piece in (
            [(i, i + 1) for i in range(start, end)] if _CJK.search(row["text"][start:end]) else [(start, end)]
        )
    )
