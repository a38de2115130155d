"""Two language models of the same units as one: p = w p_a + (1 - w) p_b, w found on text that neither has learnt from.

A network knows what a text is about, an n-gram model knows rare turns by heart; together they are better than either
(Mikolov et al., 2011). The weight maximises a concave function of one number, by expectation and maximisation (Jelinek
and Mercer, 1980).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lathe.core.errors import DataError
from lathe.likelihood.protocol import Counted, Floats, LanguageModel

ROUNDS = 100


@dataclass(frozen=True)
class Mixture:
    """Linear interpolation of the probabilities of each unit."""

    first: LanguageModel
    second: LanguageModel
    weight: float  # of the first

    def score(self, texts: Sequence[str]) -> list[Counted]:
        scored = []
        for text, a, b in zip(texts, self.first.score(texts), self.second.score(texts), strict=True):
            _check(text, a, b)
            scored.append(Counted(_mixed(self.weight, a.log_probs, b.log_probs), a.unknown))
        return scored

    def restores(self, text: str) -> bool:
        return self.first.restores(text)


def best_weight(first: LanguageModel, second: LanguageModel, texts: Sequence[str]) -> float:
    """The weight of the first model with which both together make ``texts`` most likely."""
    pairs = list(zip(texts, first.score(texts), second.score(texts), strict=True))
    for pair in pairs:
        _check(*pair)
    a = np.concatenate([one.log_probs for _, one, _ in pairs])
    b = np.concatenate([other.log_probs for _, _, other in pairs])
    weight = 0.5
    for _ in range(ROUNDS):
        weight = float(np.exp(np.log(weight) + a - _mixed(weight, a, b)).mean()) if 0 < weight < 1 else weight
    return weight


def _mixed(weight: float, a: Floats, b: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        mixed: Floats = np.logaddexp(np.log(weight) + a, np.log1p(-weight) + b)
    return mixed


def _check(text: str, a: Counted, b: Counted) -> None:
    if len(a.log_probs) != len(b.log_probs):
        raise DataError(
            f"the models cut {text[:40]!r} into {len(a.log_probs)} and {len(b.log_probs)} units; mix models of the "
            "same tokenizer: `lathe ngram units.kind=pieces units.tokenizer=FOLDER` with the network's folder"
        )
