"""Next-token prediction (Bengio et al., 2003; Radford et al., 2018): -sum_t log P(x_t | x_<t) over predicted tokens."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lathe.core.batches import pad_rows
from lathe.core.keyed import Seeds
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Part, Symbols
from lathe.objectives.text import TextObjective, refuse_headless, refuse_reader_of_both_sides
from lathe.objectives.vocabulary import labelled, vocabulary_loss


@recipe
class CausalLM(TextObjective):
    """Predict each token from the ones before it. A row of n tokens has n - 1 predicted tokens; padding has none.

    >>> batch = CausalLM().collate([{"input_ids": [5, 6, 7]}], np.zeros(1, np.uint64), Symbols(0, None, 9, ()))
    >>> batch.targets["labels"].tolist(), batch.items
    ([[6, 7, -100]], {'causal': 2})
    """

    auto_model: ClassVar = AutoModelForCausalLM
    kind: Literal["causal"] = "causal"

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        refuse_headless(self.auto_model, shape, self.kind)
        refuse_reader_of_both_sides(shape, self.kind)

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        labels = np.full_like(input_ids, IGNORE)
        follows = attention_mask[:, 1:] == 1
        labels[:, :-1][follows] = input_ids[:, 1:][follows]  # shifted here, once, and nowhere else
        targets = {"labels": torch.from_numpy(labels)}
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        return Batch(inputs, targets, {self.kind: labelled(targets["labels"])})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [vocabulary_loss(model, batch, self.kind)]
