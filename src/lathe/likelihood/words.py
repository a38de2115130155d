"""n-gram models as language models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lathe.likelihood.protocol import Counted, spelt
from lathe.ngrams import BOS, UNK, NGramModel


@dataclass(frozen=True)
class NGrams:
    """An n-gram model; it has all of a text behind it, as far as it looks."""

    model: NGramModel

    def score(self, texts: Sequence[str]) -> list[Counted]:
        stream = self.model.encode(texts)
        log_probs = self.model.log_probs(stream).astype(np.float64)
        starts = np.flatnonzero(stream == BOS).tolist()
        scored = []
        for text, start, end in zip(texts, starts, [*starts[1:], len(stream)], strict=True):
            ids = stream[start + 1 : end]
            unknown = np.flatnonzero(ids == UNK).tolist()
            units = self.model.units.split(text) if unknown else []
            scored.append(spelt(log_probs[start + 1 : end], {place: units[place] for place in unknown}))
        return scored

    def restores(self, text: str) -> bool:
        return self.model.units.restores(text)
