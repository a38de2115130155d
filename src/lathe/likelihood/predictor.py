"""A language model as a predictor: texts in, how likely each is out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from lathe.core.data import TEXT
from lathe.core.documents import utf8_size
from lathe.core.predictions import Likely, Prediction
from lathe.core.predictor import TaskPredictor
from lathe.core.types import Encoded, Row
from lathe.likelihood.protocol import LanguageModel, Likelihood


class Weigh:
    """What is asked of a language model by itself; its texts go into it as they are."""

    kind: ClassVar = "likelihood"
    labels: ClassVar = None
    unlabelled: ClassVar = TEXT

    def encode(self, rows: Sequence[Row], tokenizer: None) -> list[Encoded]:
        return [*rows]


@dataclass(frozen=True)
class TextScorer(TaskPredictor):
    """A predictor whose model has units of its own, and windows for long texts."""

    model: LanguageModel = field(kw_only=True)

    def sizes(self, encoded: Sequence[Encoded]) -> list[int]:
        """Characters: how many units they are is known to the model alone."""
        return [len(row["text"]) for row in encoded]

    def predict(self, encoded: Sequence[Encoded]) -> list[Prediction]:
        texts = [row["text"] for row in encoded]
        return [
            _likely(text, -float(found.log_probs.sum()), len(found.log_probs))
            for text, found in zip(texts, self.model.score(texts), strict=True)
        ]


def text_scorer(model: LanguageModel) -> TextScorer:
    return TextScorer(Weigh(), None, dict, model=model)


def _likely(text: str, nats: float, units: int) -> Likely:
    found = Likelihood(nats, 1, units, utf8_size(text), len(text), 0, 1)
    return Likely(-nats, found.perplexity, found.bits_per_byte, units)
