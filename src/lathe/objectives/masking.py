"""Which tokens of a row are hidden, and behind what: by themselves, by whole words, or by spans of words."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from pydantic import Field
from transformers import PreTrainedConfig

from lathe.core.batches import pad_rows
from lathe.core.boundaries import Segmenter
from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.rows import Layout
from lathe.core.types import IGNORE, Encoded, Symbols
from lathe.objectives.text import TextObjective, mask_token

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


class Chosen(NamedTuple):
    """What is hidden."""

    tokens: Flags  # [B, T]
    anchors: Places  # [B, T] the position whose draw decides what stands in the place of each of them


class Unit(Protocol):
    """What is hidden together."""

    @property
    def words(self) -> Segmenter | None:
        """What a word is, where rows have to know."""

    def choose(self, rows: Sequence[Encoded], free: Flags, rate: float, seeds: Seeds) -> Chosen:
        """About the share ``rate`` of the tokens that are ``free`` [B, T] to be hidden."""


@recipe
class Tokens:
    """Each token by itself."""

    kind: Literal["tokens"] = "tokens"

    @property
    def words(self) -> Segmenter | None:
        return None

    def choose(self, rows: Sequence[Encoded], free: Flags, rate: float, seeds: Seeds) -> Chosen:
        length = free.shape[1]
        chosen = free & (uniform(seeds, "masked/choose", length) < rate)
        return Chosen(chosen, np.broadcast_to(np.arange(length), free.shape))


@recipe
class Words:
    """All tokens of a word, or none (whole word masking): a part of a word is guessed from its other parts."""

    kind: Literal["words"] = "words"
    segmenter: Segmenter = "characters"
    """What a word is in Chinese and other scripts without spaces: a character; what `jieba` finds (`pip install
    'lathe[segment]'`); or what `spaces` in the text set apart. Elsewhere the tokenizer's words are taken."""

    @property
    def words(self) -> Segmenter | None:
        return self.segmenter

    def choose(self, rows: Sequence[Encoded], free: Flags, rate: float, seeds: Seeds) -> Chosen:
        positions = np.broadcast_to(np.arange(free.shape[1]), free.shape)
        first = np.maximum.accumulate(np.where(_starts(rows, free), positions, 0), axis=1)  # of each token's word
        draws = np.take_along_axis(uniform(seeds, "masked/choose", free.shape[1]), first, axis=1)
        return Chosen(free & (draws < rate), positions)


@recipe
class Spans:
    """Spans of whole words whose number is geometric (Joshi et al., 2020); one fate for all tokens of a span."""

    kind: Literal["spans"] = "spans"
    geometric_p: float = Field(0.2, gt=0, lt=1)
    """P(n words) is proportional to p (1 - p)^(n - 1)."""
    max_span_length: int = Field(10, ge=1)
    """Longest span in words: with the default p the mean is 3.8."""
    segmenter: Segmenter = "characters"
    """What a word is in Chinese, as for `words`."""

    @property
    def words(self) -> Segmenter | None:
        return self.segmenter

    def choose(self, rows: Sequence[Encoded], free: Flags, rate: float, seeds: Seeds) -> Chosen:
        length = free.shape[1]
        numbers = np.arange(1, self.max_span_length + 1)
        shares = (1 - self.geometric_p) ** numbers
        sizes = np.searchsorted(np.cumsum(shares) / shares.sum(), uniform(seeds, "masked/size", 4 * length)) + 1
        places, budgets = uniform(seeds, "masked/place", 4 * length), uniform(seeds, "masked/budget", 1)[:, 0]
        starts, chosen = _starts(rows, free), np.zeros_like(free)
        anchors = np.zeros(free.shape, np.int64)
        for row, budget in enumerate(budgets):
            open_, begins = np.flatnonzero(free[row]), np.flatnonzero(starts[row])
            wanted = int(rate * len(open_) + budget)  # on average the share
            for place, size in zip(places[row], sizes[row], strict=True):
                at = open_[int(place * len(open_))] if len(open_) else 0
                if wanted == 0 or _hide(chosen[row], anchors[row], free[row], begins, at, size, wanted):
                    break
        return Chosen(chosen, anchors)


AnyUnit = Annotated[Tokens | Words | Spans, Field(discriminator="kind")]


class Masked(NamedTuple):
    """Rows with hidden tokens, and what these were."""

    inputs: dict[str, torch.Tensor]  # input_ids, attention_mask [B, T]
    labels: torch.Tensor  # [B, T]


@recipe
class Masking(TextObjective):
    """Hiding tokens, for every objective that does.

    Of the chosen positions 80 % become the mask token, 10 % a random token, 10 % stay: the model cannot tell which
    tokens it may trust. Special tokens and padding are never chosen; every epoch chooses anew.
    """

    mlm_probability: float = Field(0.2, gt=0, lt=1)
    """Share of the tokens that are predicted."""
    mask_ratio: float = Field(0.8, ge=0, le=1)
    """Share of the predicted tokens that are replaced by the mask token."""
    random_ratio: float = Field(0.1, ge=0, le=1)
    """Share of the predicted tokens that are replaced by a random token; the rest is left as it is."""
    unit: AnyUnit = Tokens()
    """What is hidden together."""

    @property
    def layout(self) -> Layout:
        return Layout(words=self.unit.words)

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        super().check_model(shape, symbols)
        if shape.is_encoder_decoder:
            raise RecipeError(
                f"objective.kind: {self.kind} needs an encoder; {shape.model_type!r} is an encoder with a decoder. Set "
                "model.kind=bert, or choose an objective for two sequences"
            )
        mask_token(symbols, self.kind)

    def mask(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Masked:
        """Rows with ``input_ids`` and, where the unit has words, ``words``: the positions where they begin."""
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        length = input_ids.shape[1]
        free = (attention_mask == 1) & ~np.isin(input_ids, symbols.special)
        chosen, anchors = self.unit.choose(rows, free, self.mlm_probability, seeds)
        labels = np.where(chosen, input_ids, IGNORE)
        fate = np.take_along_axis(uniform(seeds, "masked/fate", length), anchors, axis=1)
        ordinary = np.setdiff1d(np.arange(symbols.size), symbols.special)
        random_ids = ordinary[(uniform(seeds, "masked/token", length) * len(ordinary)).astype(np.int64)]
        input_ids = np.where(chosen & (fate >= 1 - self.random_ratio), random_ids, input_ids)
        input_ids = np.where(chosen & (fate < self.mask_ratio), mask_token(symbols, self.kind), input_ids)
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        return Masked(inputs, torch.from_numpy(labels))


def _starts(rows: Sequence[Encoded], free: Flags) -> Flags:
    """Where words begin.  [B, T]"""
    starts = np.zeros_like(free)
    for number, row in enumerate(rows):
        starts[number, row["words"]] = True
    return starts


def _hide(chosen: Flags, anchors: Places, free: Flags, begins: Places, at: int, size: int, wanted: int) -> bool:
    """A span of ``size`` words from that of the token ``at`` on, in place; nothing where it is hidden already.

    Returns whether this was the last: the word that would exceed what is ``wanted`` counts if most of it does not.
    """
    if chosen[at]:
        return False
    word = int(np.searchsorted(begins, at, side="right"))
    bounds = [int(begins[word - 1]) if word else 0, *begins[word : word + size], len(chosen)][: size + 1]
    for place in map(slice, bounds, bounds[1:]):
        new = free[place] & ~chosen[place]
        if chosen.sum() + new.sum() / 2 > wanted:
            return True
        anchors[place][new], chosen[place][new] = at, True
    return bool(chosen.sum() >= wanted)
