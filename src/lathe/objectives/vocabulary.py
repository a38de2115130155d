"""The loss that language-model objectives share: cross-entropy over the vocabulary at labelled positions only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lathe.core.packing import labelled_rows
from lathe.core.types import IGNORE, Batch, Part, upcast

CELLS_AT_ONCE = 1 << 18
"""Logits of a processor's cache."""


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
    total: Tensor = _CrossEntropy.apply(logits, labels, smoothing)
    return Part(name, total, len(labels))


class _CrossEntropy(torch.autograd.Function):
    """sum of log Σ exp z - (1 - ε) z_label - ε mean z over rows z, computed in float32 at least.

    The gradient, softmax(z) - (1 - ε) [label] - ε / V, is made in the forward pass, some rows at a time, while they are
    in the cache: torch goes over all of [M, V] eight times, and twelve with smoothing.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        learns, size = ctx.needs_input_grad[0], logits.shape[-1]
        gradient = torch.empty_like(logits) if learns else None
        at_once = len(logits) if logits.is_cuda else max(CELLS_AT_ONCE // size, 1)
        totals = []
        for start in range(0, len(logits), max(at_once, 1)):
            rows = slice(start, start + at_once)
            z, label = upcast(logits[rows]), labels[rows, None]  # [m, V], [m, 1]
            whole = z.logsumexp(-1, keepdim=True)  # [m, 1]
            totals.append((whole - (1 - smoothing) * z.gather(-1, label) - smoothing * z.mean(-1, keepdim=True)).sum())
            if gradient is not None:
                found = (z - whole).exp_().sub_(smoothing / size)
                gradient[rows] = found.scatter_add_(-1, label, found.new_full(label.shape, smoothing - 1))
        ctx.gradient = gradient
        return torch.stack(totals).sum() if totals else upcast(logits).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(grads[0]), None, None


def labelled(labels: torch.Tensor) -> int:
    """How many positions carry a loss."""
    return int((labels != IGNORE).sum())
