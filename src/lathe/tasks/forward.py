"""How a model answers a task: by one pass over a row, or by writing."""

from typing import Any, Protocol, runtime_checkable

from transformers import PreTrainedModel

from lathe.core.runtime import Precision
from lathe.core.types import Forward
from lathe.generation.forward import writing_forward
from lathe.generation.generator import Generator
from lathe.generation.options import Generation
from lathe.runtimes.eager import torch_forward


@runtime_checkable
class Writes(Protocol):
    """A task whose answers are written, which takes as many passes as they have tokens."""

    generation: Generation

    def ends(self, tokenizer: Any) -> tuple[int, ...]:
        """Tokens that end an answer, beside those that end a text of the model."""


def task_forward(task: Any, model: PreTrainedModel, tokenizer: Any, precision: Precision = "fp32") -> Forward:
    """What ``task.decode`` reads: the outputs of the head, or what the model writes."""
    if isinstance(task, Writes):
        return writing_forward(Generator(model, tokenizer, precision, task.ends(tokenizer)), task.generation)
    return torch_forward(model, precision)
