"""Prefix language modelling (Dong et al., 2019; Raffel et al., 2020): -sum log P(x_t | x_<t) behind a prefix."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lathe.core.batches import pad_rows
from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.packing import why_padded
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Part, Symbols
from lathe.objectives.text import TextObjective, refuse_headless, refuse_reader_of_both_sides
from lathe.objectives.vocabulary import labelled, vocabulary_loss


@recipe
class PrefixLM(TextObjective):
    """Continue a prefix whose tokens all see one another; behind it every token sees what comes before it.

    The model is a causal one under another attention mask. The prefix of a row ends anywhere, anew in every epoch, and
    leaves at least one token to predict; a row of one token has none.
    """

    auto_model: ClassVar = AutoModelForCausalLM
    kind: Literal["prefix"] = "prefix"

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        refuse_headless(self.auto_model, shape, self.kind)
        refuse_reader_of_both_sides(shape, self.kind)
        if shape.is_encoder_decoder or getattr(shape, "sliding_window", None) or why_padded(shape) is not None:
            raise RecipeError(
                f"objective.kind: {self.kind} gives each row a mask of its own, and a model of type "
                f"{shape.model_type!r} so configured is not known to keep to it; gpt2, llama and qwen3 are"
            )

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, is_real = pad_rows(rows, symbols)  # [B, T]
        lengths = is_real.sum(1)[:, None]  # [B, 1]
        prefix = 1 + (uniform(seeds, "prefix", 1) * (lengths - 1)).astype(np.int64)  # [B, 1] from 1 to length - 1
        position = np.arange(input_ids.shape[1])
        follows = (position + 1 >= prefix) & (position + 1 < lengths)  # [B, T]
        labels = np.full_like(input_ids, IGNORE)
        labels[:, :-1][follows[:, :-1]] = input_ids[:, 1:][follows[:, :-1]]
        causal = position[:, None] >= position  # [T, T]
        may_see = (causal | (position < prefix)[:, None, :]) & (position < lengths)[:, None, :]  # [B, T, T]
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(may_see[:, None])}
        targets = {"labels": torch.from_numpy(labels)}
        return Batch(inputs, targets, {self.kind: labelled(targets["labels"])})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [vocabulary_loss(model, batch, self.kind)]
