"""The loss that language-model objectives share: cross-entropy over the vocabulary at labelled positions only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lathe.core.packing import labelled_rows
from lathe.core.types import IGNORE, Batch, Part, upcast


def vocabulary_loss(model: Any, batch: Batch, name: str, smoothing: float = 0.0) -> Part:
    """-sum log P(label) over the positions of ``batch`` that have a label; the head sees no other position."""
    with labels_only(model, batch) as labels:
        logits = model(**batch.inputs).logits  # [M, V]
    return vocabulary_part(logits, labels, name, smoothing)


@contextmanager
def labels_only(model: Any, batch: Batch) -> Iterator[Tensor]:
    """Within it, a language-model head sees labelled positions only; these are their labels.  [M]"""
    labels = batch.targets["labels"].flatten()  # [B * T]
    index = (labels != IGNORE).nonzero().flatten()  # [M]
    with labelled_rows(model, index):
        yield labels[index]


def vocabulary_part(logits: Tensor, labels: Tensor, name: str, smoothing: float = 0.0) -> Part:
    """-sum log softmax(logits)[label], the label with weight 1 - smoothing, the rest over all tokens.  [M, V], [M]"""
    total = F.cross_entropy(upcast(logits), labels, reduction="sum", label_smoothing=smoothing)
    return Part(name, total, len(labels))


def labelled(labels: torch.Tensor) -> int:
    """How many positions carry a loss."""
    return int((labels != IGNORE).sum())
