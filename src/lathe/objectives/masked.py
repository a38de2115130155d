"""Masked language modelling (Devlin et al., 2019): -sum log P(x_i | corrupted row) over the chosen positions i."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import nn
from transformers import AutoModelForMaskedLM

from lathe.core.keyed import Seeds
from lathe.core.recipe import recipe
from lathe.core.types import Batch, Encoded, Part, Symbols
from lathe.objectives.masking import Masking
from lathe.objectives.vocabulary import labelled, vocabulary_loss


@recipe
class MaskedLM(Masking):
    """Hide some tokens and predict them from the rest.

    The default rate is above BERT's 15 % after Wettig et al. (2023).
    """

    auto_model: ClassVar = AutoModelForMaskedLM
    kind: Literal["masked"] = "masked"

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs, labels = self.mask(rows, seeds, symbols)
        return Batch(inputs, {"labels": labels}, {self.kind: labelled(labels)})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [vocabulary_loss(model, batch, self.kind)]
