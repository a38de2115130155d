"""Denoising (Lewis et al., 2020): -sum log P(text | the text with noise), by an encoder-decoder."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig

from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.rows import Layout
from lathe.core.types import Batch, Encoded, Part, Symbols
from lathe.objectives.sequences import sequence_batch, sequence_loss
from lathe.objectives.spans import Draws, Ids, body, first_of, scattered
from lathe.objectives.text import TextObjective, mask_token, refuse_headless

Noise = dict[str, Draws]
"""Uniform numbers for each kind of noise, of one row."""


@recipe
class Denoising(TextObjective):
    """Give a text back from one whose sentences are in another order and whose spans are hidden behind one mask each.

    The decoder does not know how long a hidden span was; one of no tokens at all puts a mask between two tokens. Each
    kind of noise has its own share, 0 leaves it out. Special tokens stay where they are, and noise makes no row longer.
    """

    auto_model: ClassVar = AutoModelForSeq2SeqLM
    kind: Literal["denoising"] = "denoising"
    mask_ratio: float = Field(0.3, ge=0, lt=1)
    """Share of the tokens in spans that one mask token stands for (infilling)."""
    poisson_lambda: float = Field(3.0, gt=0)
    """Mean length of these spans, in tokens: lengths are drawn from a Poisson distribution."""
    permute_sentence_ratio: float = Field(1.0, ge=0, le=1)
    """Share of the sentences of a row that change places with one another."""
    delete_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the tokens that is left out, with nothing in their place."""
    token_mask_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the tokens that become one mask token each."""
    rotate_ratio: float = Field(0.0, ge=0, le=1)
    """Share of the rows that begin at a random token, and have what comes before it at their end."""

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        refuse_headless(self.auto_model, shape, self.kind)
        mask_token(symbols, self.kind)

    @property
    def layout(self) -> Layout:
        return Layout(cut="between")

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        longest = max(len(row["input_ids"]) for row in rows)
        names = ("sentences", "permute", "delete", "mask", "count", "sizes", "places", "rotate")
        draws = {name: uniform(seeds, f"denoising/{name}", 2 * longest) for name in names}
        noises = [{name: of_rows[i] for name, of_rows in draws.items()} for i in range(len(rows))]
        mask = mask_token(symbols, self.kind)
        sources = [self._noisy(row, noise, mask, symbols) for row, noise in zip(rows, noises, strict=True)]
        return sequence_batch(sources, [row["input_ids"] for row in rows], symbols, self.kind)

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [sequence_loss(model, batch, self.kind)]

    def _noisy(self, row: Encoded, noise: Noise, mask: int, symbols: Symbols) -> Ids:
        """What the encoder reads in the place of ``row``."""
        ids: Ids = np.asarray(row["input_ids"])
        place = body(ids, symbols)
        if place.start == place.stop:
            return ids
        text = self._permuted(ids[place], row["sentences"] - place.start, noise)
        if self.delete_ratio:
            kept = noise["delete"][: len(text)]
            text = text[(kept >= self.delete_ratio) | (kept == kept.max())]  # one token stays in any case
        text = np.where(noise["mask"][: len(text)] < self.token_mask_ratio, mask, text)
        text = self._infilled(text, mask, noise)
        if noise["rotate"][0] < self.rotate_ratio:
            text = np.roll(text, -int(noise["rotate"][1] * len(text)))
        return np.concatenate([ids[: place.start], text, ids[place.stop :]])

    def _permuted(self, text: Ids, starts: Ids, noise: Noise) -> Ids:
        sentences = np.split(text, starts[starts > 0])
        moved = np.flatnonzero(noise["sentences"][: len(sentences)] < self.permute_sentence_ratio)
        order = np.arange(len(sentences))
        order[moved] = moved[np.argsort(noise["permute"][: len(moved)], kind="stable")]
        return np.concatenate([sentences[i] for i in order])

    def _infilled(self, text: Ids, mask: int, noise: Noise) -> Ids:
        hidden = int(len(text) * self.mask_ratio + noise["count"][0])  # on average the share
        sizes = first_of(poisson(noise["sizes"], self.poisson_lambda), hidden)
        if len(sizes) > sizes.sum():  # more masks than tokens they stand for
            sizes = sizes[sizes > 0]
        spans = scattered(noise["places"], len(text), sizes)
        return spans.replaced(text, np.full(len(sizes), mask))


def poisson(draws: Draws, mean: float) -> Ids:
    """Numbers of a Poisson distribution, from uniform ones.

    >>> poisson(np.array([0.04, 0.06, 0.5, 0.999]), mean=3.0).tolist()
    [0, 1, 3, 10]
    """
    numbers = np.arange(20 + int(mean + 12 * mean**0.5))
    log_factorials = np.cumsum(np.log(np.maximum(numbers, 1)))
    distribution = np.cumsum(np.exp(numbers * np.log(mean) - mean - log_factorials))
    return np.searchsorted(distribution, draws, side="right")
