"""How a model answers a task: by one pass over a row, or by writing."""

import threading
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lathe.core.packing import labelled_rows
from lathe.core.runtime import Precision
from lathe.core.types import Forward
from lathe.generation.forward import WritingForward
from lathe.generation.generator import Generator
from lathe.generation.options import Generation
from lathe.runtimes.eager import torch_forward


@runtime_checkable
class Writes(Protocol):
    """A task whose answers are written, which takes as many passes as they have tokens."""

    generation: Generation

    def ends(self, tokenizer: Any) -> tuple[int, ...]:
        """Tokens that end an answer, beside those that end a text of the model."""


@runtime_checkable
class AnswersAtEnd(Protocol):
    """A task that asks a language model what comes behind a row, and nothing before: logits are [B, V]."""

    answers_at_end: bool


def task_forward(task: Any, model: PreTrainedModel, tokenizer: Any, precision: Precision = "fp32") -> Forward:
    """What ``task.decode`` reads: the outputs of the head, or what the model writes."""
    if isinstance(task, Writes):
        return WritingForward(Generator(model, tokenizer, precision, task.ends(tokenizer)), task.generation)
    forward = torch_forward(model, precision)
    return _at_end(model, forward) if isinstance(task, AnswersAtEnd) else forward


def _at_end(model: PreTrainedModel, forward: Forward) -> Forward:
    """The head sees the last position of each row alone: all of them, [B, T, V], would not fit into memory."""
    alone = threading.Lock()

    def last(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        mask = inputs["attention_mask"]  # [B, T]
        ends = torch.arange(len(mask)) * mask.shape[1] + mask.sum(1) - 1
        with alone, labelled_rows(model, ends.to(next(model.parameters()).device)):
            return {"logits": forward(inputs)["logits"]}

    return last
