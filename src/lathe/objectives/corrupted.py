"""Span corruption (Raffel et al., 2020): -sum log P(the hidden spans | the text with a sentinel in place of each)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig

from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import SENTINEL, Batch, Encoded, Part, Symbols
from lathe.objectives.sequences import sequence_batch, sequence_loss
from lathe.objectives.spans import Draws, Ids, Spans, body, random_parts
from lathe.objectives.text import TextObjective, refuse_headless


@recipe
class SpanCorruption(TextObjective):
    """Hide spans of a text, each behind a sentinel of its own; the decoder tells them, sentinel by sentinel.

    Text and hidden spans take turns, text first and a hidden span last, and the target ends with the end token, all as
    in the released code; the paper's figure closes the target with one more sentinel. A row of one token has nothing to
    hide, and no loss.
    """

    auto_model: ClassVar = AutoModelForSeq2SeqLM
    kind: Literal["span_corruption"] = "span_corruption"
    noise_density: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is hidden."""
    mean_noise_span_length: float = Field(3.0, ge=1)
    """Mean length of the hidden spans, in tokens."""
    extra_ids: int = Field(100, ge=1)
    """Sentinels, `<extra_id_0>` and so on, that the tokenizer of a new model gets where it has none."""

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        refuse_headless(self.auto_model, shape, self.kind)
        if symbols.end is None:
            raise RecipeError(f"objective.kind: {self.kind} needs a tokenizer with an end token; this one has none")

    def prepare_tokenizer(self, tokenizer: Any, max_length: int, is_new: bool) -> None:
        """See to it that there is a sentinel for each span of a row: a new model's tokenizer gets them if it has none.

        Raises ``RecipeError`` where there are too few.
        """
        needed, found = self.counts(max_length)[1], len(Symbols.of(tokenizer).sentinels)
        if not found and is_new:
            found = self.extra_ids
            tokenizer.add_special_tokens({"extra_special_tokens": [SENTINEL.format(i) for i in range(found)]})
            say(f"{self.kind}: the tokenizer has no sentinels; {found} are added ({SENTINEL.format(0)} ...)")
        if not found:
            raise RecipeError(
                f"objective.kind: {self.kind} needs sentinels ({SENTINEL.format(0)} ...) in the tokenizer of `base`, "
                "which has none; make a new model, whose tokenizer gets them, or set objective.kind=denoising"
            )
        if needed > found:
            raise RecipeError(
                f"max_length: a row of {max_length} tokens has {needed} hidden spans, and there are {found} sentinels; "
                "lower max_length, or raise objective.mean_noise_span_length or, where they are added, extra_ids"
            )

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        longest = max(len(row["input_ids"]) for row in rows)
        shown, hidden = (uniform(seeds, f"span_corruption/{part}", longest) for part in ("shown", "hidden"))  # [B, T]
        pairs = [self._pair(row, shown[i], hidden[i], symbols) for i, row in enumerate(rows)]
        sources, targets = zip(*pairs, strict=True)
        return sequence_batch(sources, targets, symbols, self.kind)

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [sequence_loss(model, batch, self.kind)]

    def _pair(self, row: Encoded, shown: Draws, hidden: Draws, symbols: Symbols) -> tuple[Ids, Ids]:
        """What the encoder reads, and what the decoder has to tell."""
        ids: Ids = np.asarray(row["input_ids"])
        text = body(ids, symbols)
        spans = self._spans(text.stop - text.start, shown, hidden)
        sentinels = np.array(symbols.sentinels[: len(spans.sizes)], np.int64)
        end = np.array([symbols.end])
        source = np.concatenate([ids[: text.start], spans.replaced(ids[text], sentinels), ids[text.stop :]])
        if source[-1] != symbols.end:  # a row that is cut inside a document, too
            source = np.concatenate([source, end])
        told = np.insert(ids[text][spans.covered], np.cumsum(spans.sizes) - spans.sizes, sentinels)
        return source, np.concatenate([told, end]) if len(told) else told

    def _spans(self, length: int, shown: Draws, hidden: Draws) -> Spans:
        tokens, count = self.counts(length)
        if not count:
            return Spans(np.zeros(0, np.int64), np.zeros(0, np.int64))
        before, sizes = random_parts(shown, length - tokens, count), random_parts(hidden, tokens, count)
        return Spans(np.cumsum(before + sizes) - sizes, sizes)

    def counts(self, length: int) -> tuple[int, int]:
        """Hidden tokens, and spans, of a text of so many tokens.

        >>> SpanCorruption().counts(512)
        (77, 26)
        """
        if length < 2:
            return 0, 0
        hidden = min(max(round(length * self.noise_density), 1), length - 1)
        return hidden, min(max(round(hidden / self.mean_noise_span_length), 1), length - hidden)
