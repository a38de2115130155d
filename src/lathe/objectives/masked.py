"""Masked language modelling (Devlin et al., 2019): -sum log P(x_i | corrupted row) over the chosen positions i."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from transformers import AutoModelForMaskedLM

from lathe.core.batches import pad_rows
from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Part, Symbols
from lathe.objectives.text import TextObjective
from lathe.objectives.vocabulary import labelled, vocabulary_loss


@recipe
class MaskedLM(TextObjective):
    """Hide some tokens and predict them from the rest.

    Of the chosen positions 80 % become the mask token, 10 % a random token, 10 % stay: the model cannot tell which
    tokens it may trust. Special tokens and padding are never chosen; every epoch chooses anew. The default rate is
    above BERT's 15 % after Wettig et al. (2023).
    """

    auto_model: ClassVar = AutoModelForMaskedLM
    kind: Literal["masked"] = "masked"
    mlm_probability: float = Field(0.2, gt=0, lt=1)
    """Share of the tokens that are predicted."""
    mask_ratio: float = Field(0.8, ge=0, le=1)
    """Share of the predicted tokens that are replaced by the mask token."""
    random_ratio: float = Field(0.1, ge=0, le=1)
    """Share of the predicted tokens that are replaced by a random token; the rest is left as it is."""

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        if symbols.mask is None:
            raise RecipeError("objective.kind: masked needs a tokenizer with a mask token; this one has none")
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        length = input_ids.shape[1]
        free = (attention_mask == 1) & ~np.isin(input_ids, symbols.special)
        chosen = free & (uniform(seeds, "masked/choose", length) < self.mlm_probability)
        labels = np.where(chosen, input_ids, IGNORE)
        fate = uniform(seeds, "masked/fate", length)
        ordinary = np.setdiff1d(np.arange(symbols.size), symbols.special)
        random_ids = ordinary[(uniform(seeds, "masked/token", length) * len(ordinary)).astype(np.int64)]
        input_ids = np.where(chosen & (fate >= 1 - self.random_ratio), random_ids, input_ids)
        input_ids = np.where(chosen & (fate < self.mask_ratio), symbols.mask, input_ids)
        targets = {"labels": torch.from_numpy(labels)}
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        return Batch(inputs, targets, {self.kind: labelled(targets["labels"])})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [vocabulary_loss(model, batch, self.kind)]
