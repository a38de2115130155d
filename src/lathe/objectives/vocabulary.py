"""The loss that language-model objectives share: cross-entropy over the vocabulary at labelled positions only."""

from typing import Any

import torch
from torch.nn import functional as F

from lathe.core.packing import labelled_rows
from lathe.core.types import IGNORE, Batch, Part, upcast


def vocabulary_loss(model: Any, batch: Batch, name: str) -> Part:
    """-sum log P(label) over the positions of ``batch`` that have a label; the head sees no other position."""
    labels = batch.targets["labels"].flatten()  # [B * T]
    index = (labels != IGNORE).nonzero().flatten()  # [M]
    with labelled_rows(model, index):
        logits = model(**batch.inputs).logits  # [M, V]
    total = F.cross_entropy(upcast(logits), labels[index], reduction="sum")
    return Part(name, total, batch.items[name])


def labelled(labels: torch.Tensor) -> int:
    """How many positions carry a loss."""
    return int((labels != IGNORE).sum())
