"""An intent by TF-IDF, and each word's most frequent slot: what a model of both has to beat."""

from collections.abc import Sequence
from typing import cast

from lathe.core.predictions import Frame, Label, Prediction, Spans
from lathe.core.types import Predictor, Row
from lathe.models.baselines.labels import tfidf_logistic
from lathe.models.baselines.tags import frequent_tag


def frequent_frame(rows: Sequence[Row]) -> Predictor:
    """Rows have text, label and spans."""
    intent, slots = tfidf_logistic(rows), frequent_tag(rows)

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        pairs = zip(intent(rows), slots(rows), strict=True)
        return [Frame(cast(Label, label), cast(Spans, spans)) for label, spans in pairs]

    return predict
