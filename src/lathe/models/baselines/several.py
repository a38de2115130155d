"""TF-IDF with a logistic regression for each label: what a classifier with any number of labels has to beat."""

from collections.abc import Sequence

from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from lathe.core.predictions import Labels, Prediction
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.labels import tfidf
from lathe.models.baselines.words import terms_of


def tfidf_logistic_each(rows: Sequence[Row]) -> Predictor:
    """Each label by itself, given from a probability of one half on; rows have text and labels.

    One that every row has or none, and every one where no text has a word, is given as often as it occurs.
    """
    names = sorted({label for row in rows for label in row["labels"]})
    marks = MultiLabelBinarizer(classes=names).fit_transform([row["labels"] for row in rows])  # [N, C]
    shares = marks.mean(0).tolist()
    learnt = [column for column, share in enumerate(shares) if 0 < share < 1 and any(map(terms_of, rows))]
    vectorizer, classifier = tfidf(len(rows)), OneVsRestClassifier(LogisticRegression(C=10.0, max_iter=300))
    if learnt:
        classifier.fit(vectorizer.fit_transform(rows), marks[:, learnt])

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        scores = [dict(zip(names, shares, strict=True)) for _ in rows]
        if learnt and rows:
            found = classifier.predict_proba(vectorizer.transform(map(as_row, rows)))  # [B, learnt]
            for row, values in zip(scores, found.tolist(), strict=True):
                row.update(zip([names[column] for column in learnt], values[-len(learnt) :], strict=True))
        return [Labels(tuple(name for name, score in row.items() if score >= 0.5), row) for row in scores]

    return predict
