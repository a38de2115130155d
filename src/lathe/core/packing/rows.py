"""Language-model logits for labelled positions only: with a large vocabulary that is most of a step's work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lathe.core.packing.families import HEAD_TRANSFORMS
from lathe.core.packing.geometry import coarse


@contextmanager
def labelled_rows(model: PreTrainedModel, index: Tensor) -> Iterator[None]:
    """Within it, logits are [len(index), V]: of the rows ``index`` of the hidden states flattened to [B * T, D].

    Pass no ``labels`` to the model; the loss is the caller's, on these logits.
    """
    projection = model.get_output_embeddings()
    first = _head_transform(model) or projection
    select = first.register_forward_pre_hook(_Select(_with_fillers(index)))
    trim = projection.register_forward_hook(_Trim(len(index)))
    try:
        yield
    finally:
        select.remove()
        trim.remove()


def _head_transform(model: PreTrainedModel) -> nn.Module | None:
    path = HEAD_TRANSFORMS.get(model.config.model_type)
    module: Any = model
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return module if path else None


def _with_fillers(index: Tensor) -> Tensor:
    """The index, repeated up to a coarse size: see `coarse`."""
    size = coarse(len(index), steps=16, smallest=8)
    return index[torch.arange(size, device=index.device) % max(len(index), 1)] if len(index) else index


@dataclass
class _Select:
    index: Tensor

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        hidden: Tensor = args[0]
        return (hidden.flatten(0, -2).index_select(0, self.index),)  # [B, T, D] -> [rows, D]


@dataclass
class _Trim:
    rows: int

    def __call__(self, module: nn.Module, args: tuple[Any, ...], logits: Tensor) -> Tensor:
        return logits[: self.rows]
