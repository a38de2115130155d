"""Permutation language modelling (Yang et al., 2019): -sum log P(x_z(t) | x_z(<t)) over the last part of an order z.

Two streams run through the network: the content of a position sees the position itself and what comes earlier in the
order, the query that predicts it sees what comes earlier, and where it stands.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lathe.core.batches import pad_rows
from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Part, Symbols
from lathe.objectives.spans import Bools, Ids, first_of, scattered
from lathe.objectives.text import TextObjective
from lathe.objectives.vocabulary import labelled, vocabulary_loss


@recipe
class PermutationLM(TextObjective):
    """Predict tokens from those before them in a random order: the last part of the order is predicted.

    The part before it is context: its tokens see one another, whatever their order, and none of what is predicted (as
    in the released code; in the paper they, too, see only earlier ones). Special tokens belong to it. Of a text that
    would have no context, one token is kept as such, so a row may be of any length.
    """

    auto_model: ClassVar = AutoModelForCausalLM
    kind: Literal["permutation"] = "permutation"
    plm_probability: float = Field(1 / 6, gt=0, lt=1)
    """Share of the tokens that is predicted: 1/K of the paper."""
    max_span_length: int = Field(5, ge=1)
    """Predicted tokens stand together in spans of 1 to so many; the order goes through them as it goes through all."""

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        if shape.model_type != "xlnet":
            raise RecipeError(
                f"objective.kind: {self.kind} needs a model with a second stream, which predicts a token that it does "
                f"not see; {shape.model_type!r} has none. Set model.kind=xlnet"
            )

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        order = self._order(input_ids, attention_mask == 1, seeds, symbols)  # [B, T]
        # query i may not see key j: j is predicted, and not before i
        perm_mask = (order[:, None, :] > 0) & (order[:, None, :] >= order[:, :, None])  # [B, T, T]
        row, position = np.nonzero(order)
        number = np.concatenate([np.arange(count) for count in (order > 0).sum(1)])  # of the prediction in its row
        shape = len(rows), max(int((order > 0).sum(1).max()), 1)
        target_mapping = np.zeros((*shape, input_ids.shape[1]), np.float32)  # [B, M, T]
        labels = np.full(shape, IGNORE)  # [B, M]
        target_mapping[row, number, position] = 1
        labels[row, number] = input_ids[row, position]
        inputs = {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "perm_mask": torch.from_numpy(perm_mask.astype(np.float32)),
            "target_mapping": torch.from_numpy(target_mapping),
        }
        targets = {"labels": torch.from_numpy(labels)}
        return Batch(inputs, targets, {self.kind: labelled(targets["labels"])})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        mapping = batch.inputs["target_mapping"].to(next(model.parameters()).dtype)
        return [vocabulary_loss(model, replace(batch, inputs={**batch.inputs, "target_mapping": mapping}), self.kind)]

    def _order(self, input_ids: Ids, is_real: Bools, seeds: Seeds, symbols: Symbols) -> Ids:
        """Place in the order of each token that is predicted, from 1; 0 for context.  [B, T]"""
        order = np.zeros_like(input_ids)
        free = is_real & ~np.isin(input_ids, symbols.special)
        length = input_ids.shape[1]
        rounding = uniform(seeds, "permutation/count", 1)[:, 0]
        sizes = (uniform(seeds, "permutation/sizes", length) * self.max_span_length).astype(np.int64) + 1
        places = uniform(seeds, "permutation/places", 2 * length)
        turns = uniform(seeds, "permutation/order", length)
        for row in range(len(order)):
            text = np.flatnonzero(free[row])
            without_frame = len(text) == is_real[row].sum()
            count = min(int(len(text) * self.plm_probability + rounding[row]), len(text) - without_frame)
            chosen = text[scattered(places[row], len(text), first_of(sizes[row], count)).covered]
            order[row, chosen[np.argsort(turns[row, :count])]] = np.arange(count) + 1
        return order
