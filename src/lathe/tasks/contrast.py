"""Losses that compare the texts of a whole step: which one a query seeks, or which pair is more alike.

N rows of S texts each, D numbers a vector. Beside its vector stand three numbers that say what a text is: its part in
the row, and which text it is (48 bits of a digest, since float32 holds 24 exactly).
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lathe.core.data import same
from lathe.core.keyed import word

QUERY, POSITIVE, NEGATIVE, ALSO, SCORED = 1.0, 2.0, 3.0, 4.0, 5.0
"""Parts; 0 is no text. ``ALSO`` is sought by the query like its positive, and known by its wording alone."""
PARTS = {QUERY: "query", POSITIVE: "positive", NEGATIVE: "negative", ALSO: "also sought", SCORED: "text"}
_HALF = 1 << 24


class Mark(NamedTuple):
    """What is known of a text."""

    part: float
    high: float  # half of the digest of its wording; of a scored pair its score
    low: float = 0.0

    @classmethod
    def of(cls, part: float, text: str) -> "Mark":
        high, low = divmod(word(same(text)) >> 16, _HALF)
        return cls(part, float(high), float(low))


MARKS = len(Mark._fields)


def contrast(slots: Tensor, temperature: float, dims: Sequence[int]) -> Tensor:
    """-log softmax over all positives and negatives of the step of cos(query, text) / temperature, at its positive.

    What the query also seeks, and its own text, are no negatives, whichever row they stand in.  [N, S, D + 3] -> [N]
    """
    part, text = _what(slots)  # 2 x [N, S]
    is_candidate = (part == POSITIVE) | (part == NEGATIVE)
    of_candidate = text[is_candidate]  # [M]
    hidden = torch.zeros(len(slots), len(of_candidate), dtype=torch.bool, device=slots.device)
    for known, place in zip(text.t(), ((part != 0) & (part != NEGATIVE)).t(), strict=True):
        hidden |= place[:, None] & (known[:, None] == of_candidate)
    positive = (part == POSITIVE)[is_candidate].nonzero().squeeze(1)  # [N]: each row has one
    hidden[torch.arange(len(slots), device=slots.device), positive] = False
    losses = [
        F.cross_entropy(
            (vectors[:, 0] @ vectors[is_candidate].t() / temperature).masked_fill(hidden, -math.inf),
            positive,
            reduction="none",
        )
        for vectors in _vectors(slots, dims)
    ]
    return torch.stack(losses).mean(0)


def ordered(slots: Tensor, temperature: float, dims: Sequence[int]) -> Tensor:
    """CoSENT: log(1 + sum over pairs i, j, i scored above j, of exp((cos_j - cos_i) / temperature)), of each row alike.

    Only the order of the scores counts (Su, 2022). It is one number for the step.  [N, 2, D + 3] -> [N]
    """
    scores = slots[:, 0, -2]  # [N]
    is_above = scores[:, None] > scores
    totals = []
    for first, second in (vectors.unbind(1) for vectors in _vectors(slots, dims)):
        cosines = (first * second).sum(-1) / temperature  # [N]
        wrong = (cosines - cosines[:, None])[is_above]
        totals.append(torch.cat((wrong.new_zeros(1), wrong)).logsumexp(0))
    return torch.stack(totals).mean().expand(len(slots))


def _what(slots: Tensor) -> tuple[Tensor, Tensor]:
    """Part and digest of each text.  2 x [N, S]"""
    part, high, low = slots.detach()[..., -MARKS:].unbind(-1)
    return part, high.long() * _HALF + low.long()


def _vectors(slots: Tensor, dims: Sequence[int]) -> Iterator[Tensor]:
    """Of length 1, by all their numbers and by the first few alone."""
    whole = slots[..., :-MARKS]
    return (F.normalize(whole[..., :dim], dim=-1) for dim in (*dims, whole.shape[-1]))
