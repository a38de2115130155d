"""The protocol of language models, and the figures by which they are compared.

A text of n units (words, pieces, characters) has n + 1 predictions: each unit after those before it, and the end. Their
log probabilities add up to that of the text, in whatever units a model sees it, so that models of different units are
compared by the sum for the same text: per byte or per character. Perplexity is per unit, and compares only models of
the same units.

An unknown unit is spelt: to the probability of "unknown" comes that of its bytes and an end, 1 / 257 each. Without that
a model would be the better the fewer words it knows.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from pydantic import Field

from lathe.core.documents import utf8_size
from lathe.core.recipe import recipe
from lathe.core.report import progress

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

SPELL = math.log(257)
"""Nats that a byte of an unknown unit costs, and its end."""
TEXTS_AT_ONCE = 256

_MOST_NATS = math.log(sys.float_info.max)


class Counted(NamedTuple):
    """A text as a model predicts it."""

    log_probs: Floats  # [units + 1] in nats: of each unit, and of the end
    unknown: int  # units that were spelt


class LanguageModel(Protocol):
    """Whatever gives a text a probability."""

    def score(self, texts: Sequence[str]) -> list[Counted]:
        """What each text's units and its end cost; a text's answer does not depend on the texts beside it."""

    def restores(self, text: str) -> bool:
        """Whether the units give the text back; where they do not, it is another, simpler text that is predicted."""


@recipe
class Windows:
    """How a text longer than a network's row is read: row by row, each predicting what the one before did not."""

    stride_ratio: float = Field(0.5, gt=0, le=1)
    """Share of a row that is predicted; the rest is context from the row before. 1 has none, and is fastest."""


class Likelihood(NamedTuple):
    """A model on some texts."""

    nats: float
    texts: int
    units: int  # predicted: ends of texts are among them
    bytes: int
    characters: int
    unknown: int
    restored: int  # texts that their units give back

    @property
    def perplexity(self) -> float:
        """exp of the nats a unit: comparable only between models of the same units. At most 1.8e308."""
        return math.exp(min(self.nats / self.units, _MOST_NATS))

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / max(self.bytes, 1)

    @property
    def bits_per_character(self) -> float:
        return self.nats / math.log(2) / max(self.characters, 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "bits_per_byte": round(self.bits_per_byte, 4),
            "bits_per_character": round(self.bits_per_character, 4),
            "perplexity": round(self.perplexity, 3),
            "nats_per_unit": round(self.nats / self.units, 4),
            "units": self.units,
            "unknown_ratio": round(self.unknown / self.units, 5),
            "restored_ratio": round(self.restored / self.texts, 4),
        }


def likelihood(model: LanguageModel, texts: Sequence[str], label: str = "scoring") -> Likelihood:
    """All texts together: sums, divided once. There must be at least one."""
    nats, units, unknown = 0.0, 0, 0
    with progress(label, len(texts), "texts") as meter:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            chunk = texts[start : start + TEXTS_AT_ONCE]
            for found in model.score(chunk):
                nats -= float(found.log_probs.sum())
                units += len(found.log_probs)
                unknown += found.unknown
            meter.advance(len(chunk))
    restored = sum(map(model.restores, texts))
    sizes = sum(map(utf8_size, texts)), sum(map(len, texts))
    return Likelihood(nats, len(texts), units, *sizes, unknown, restored)


def spelt(log_probs: Floats, unknown: Mapping[int, str]) -> Counted:
    """Adds what spelling costs; ``unknown`` has the text of each unknown unit by its place.

    >>> spelt(np.zeros(2), {0: "ab"}).log_probs.round(2).tolist()
    [-16.65, 0.0]
    """
    spelling = np.zeros(len(log_probs))
    for place, text in unknown.items():
        spelling[place] = SPELL * (utf8_size(text) + 1)
    return Counted(log_probs - spelling, len(unknown))
