"""Sentence embeddings without labels (SimCSE; Gao, Yao and Chen, 2021): a sentence is near to itself under another
dropout, and far from the other sentences of its step.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedConfig

from lathe.core.batches import pad_rows
from lathe.core.coupled import coupled_part
from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds
from lathe.core.recipe import recipe
from lathe.core.rows import Layout
from lathe.core.types import Batch, Encoded, Part, Symbols
from lathe.objectives.text import TextObjective, reads_both_sides

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "mlp_dropout",
            "embedding_dropout")  # fmt: skip


@recipe
class SimCSE(TextObjective):
    """-log softmax over j of cos(h_i, h'_j) / temperature, at j = i: h and h' are two passes with dropout of its own.

    Each row is a sentence, and all rows of a step are told apart from one another. The larger the step, the more there
    is to tell apart; how it is cut into micro-batches changes nothing. A row counts once, and runs twice.
    """

    auto_model: ClassVar = AutoModel
    predicts_tokens: ClassVar = False
    kind: Literal["simcse"] = "simcse"
    temperature: float = Field(0.05, gt=0)
    """Cosines are divided by this."""
    pooling: Literal["cls", "mean"] = "cls"
    """What stands for a sentence: its first position, through the pooler of a model that has one, or the mean."""

    @property
    def layout(self) -> Layout:
        return Layout(cut="each")

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        if not reads_both_sides(shape):
            raise RecipeError(
                f"objective.kind: simcse needs an encoder, which {shape.model_type!r} is not. Set model.kind=bert"
            )
        if not any(getattr(shape, name, 0) for name in DROPOUTS):
            raise RecipeError(
                "objective.kind: simcse tells a sentence from others by two passes that differ in dropout alone, and "
                "this model has none. Set model.dropout=0.1"
            )

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        names = ("input_ids", "attention_mask")
        inputs = {name: torch.from_numpy(v) for name, v in zip(names, pad_rows(rows, symbols), strict=True)}
        return Batch(inputs, {}, {"contrast": len(rows)})

    def loss(self, model: Any, batch: Batch) -> list[Part]:
        return [coupled_part(self, model, batch, "contrast")]

    def embed(self, model: Any, batch: Batch) -> Tensor:
        """Of each row both passes.  [B, 2, D]"""
        twice = {name: values.repeat(2, 1) for name, values in batch.inputs.items()}
        out = model(**twice)
        if self.pooling == "mean":
            mask = twice["attention_mask"].unsqueeze(-1)
            pooled: Tensor = (out.last_hidden_state * mask).sum(1) / mask.sum(1)
        else:
            found = getattr(out, "pooler_output", None)
            pooled = out.last_hidden_state[:, 0] if found is None else found
        both: Tensor = pooled.unflatten(0, (2, -1)).transpose(0, 1)
        return both

    def couple(self, embeddings: Tensor) -> Tensor:
        first, second = F.normalize(embeddings, dim=-1).unbind(1)  # 2 x [N, D]
        cosines = first @ second.t() / self.temperature  # [N, N]
        return F.cross_entropy(cosines, torch.arange(len(cosines), device=cosines.device), reduction="none")
