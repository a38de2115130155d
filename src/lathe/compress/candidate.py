"""A model on its way through the steps, and its raw answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lathe.core.batches import cut
from lathe.core.bundle import Runtime
from lathe.core.errors import GateError
from lathe.core.predictor import TaskPredictor
from lathe.core.types import IGNORE, Encoded, Forward, Symbols
from lathe.models.pretrained import open_model, save_model
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnyTask, Tag
from lathe.tasks.examples import Examples

Logits: TypeAlias = Sequence[Tensor]
"""Of each row, the outputs for what it asks: [1, C] for one label a text, [words, C] for tags."""

TOKENS_PER_BATCH = 8192
COMPARED_ROWS = 8
SAVED_TOLERANCE = 1e-5
"""Largest difference of a logit between a model and itself, saved and opened again."""


Splits: TypeAlias = Mapping[str, Examples]


@dataclass(frozen=True)
class Candidate:
    """What a step is given, and what it makes."""

    name: str
    predictor: TaskPredictor
    folder: Path
    runtime: Runtime
    splits: Splits  # the rows, in the tokens that it reads
    model: PreTrainedModel | None = None  # None where the files are no torch model any more
    notes: Mapping[str, Any] = field(default_factory=dict)  # what the step has to report of itself

    @property
    def size_bytes(self) -> int:
        """Bytes of the files that are read to predict."""
        return sum((self.folder / name).stat().st_size for name in self.runtime.files)


def saved(name: str, model: PreTrainedModel, given: Candidate, folder: Path, notes: Mapping[str, Any]) -> Candidate:
    """``model``, made from ``given`` and reading the same tokens: what goes on is what was written and read again.

    Raises ``GateError`` where the one that is read answers otherwise than the one that was written.
    """
    task, tokenizer = given.predictor.task, given.predictor.tokenizer
    runtime = save_model(model, tokenizer, folder)
    opened = open_model(task.auto_model, folder)
    forward = torch_forward(opened.model)
    source, symbols = given.splits["validation"].source, Symbols.of(tokenizer)
    batch = task.collate(source.rows[:COMPARED_ROWS], source.keys[:COMPARED_ROWS], symbols)
    written, read = (one(batch.inputs)["logits"] for one in (torch_forward(model), forward))
    if opened.new or not torch.allclose(written, read, atol=SAVED_TOLERANCE):
        error = float((written - read).abs().max())
        raise GateError(f"{name}: the saved model's logits differ by up to {error:.1e} from those of the one in memory")
    predictor = TaskPredictor(task, tokenizer, forward)
    return Candidate(name, predictor, folder, runtime, given.splits, opened.model, notes)


def asked(row: Encoded, task: AnyTask) -> tuple[list[int], list[int]]:
    """Positions in a row that an answer is read from, and the gold output at each (``IGNORE`` where it is unknown).

    A text with one label has a single answer, at position 0 whatever its length.
    """
    if not isinstance(task, Tag):
        return [0], [IGNORE if row["label"] is None else row["label"]]
    tags = [IGNORE] * len(row["pieces"]) if row["tags"] is None else row["tags"]
    known = [(piece, tag) for piece, tag in zip(row["pieces"], tags, strict=True) if piece >= 0]
    return [piece for piece, _ in known], [tag for _, tag in known]


def flat_positions(rows: Sequence[Encoded], length: int, task: AnyTask) -> Tensor:
    """Where the answers of a batch stand once its outputs [B, T, C] or [B, C] are flattened to [B * T, C] or [B, C]."""
    width = length if isinstance(task, Tag) else 1
    flat = [number * width + position for number, row in enumerate(rows) for position in asked(row, task)[0]]
    return torch.tensor(flat, dtype=torch.int64)  # [M]


def logits_of(forward: Forward, rows: Sequence[Encoded], task: AnyTask, symbols: Symbols) -> list[Tensor]:
    """What a model answers where each row asks, before the softmax; rows of like length run together."""
    lengths = np.array([len(row["input_ids"]) for row in rows], np.int64)
    order = np.argsort(lengths, kind="stable")
    answers: list[Tensor] = [torch.empty(0)] * len(rows)
    for part in cut(lengths[order], TOKENS_PER_BATCH):
        chosen = [rows[i] for i in order[part]]
        for i, logits in zip(order[part], batch_logits(forward, chosen, task, symbols), strict=True):
            answers[i] = logits
    return answers


def batch_logits(forward: Forward, rows: Sequence[Encoded], task: AnyTask, symbols: Symbols) -> tuple[Tensor, ...]:
    """The same for rows that run as one batch."""
    inputs = task.collate(rows, np.zeros(len(rows), np.uint64), symbols).inputs
    outputs = forward(inputs)["logits"].float()
    flat = outputs.flatten(0, -2)[flat_positions(rows, inputs["input_ids"].shape[1], task)]  # [M, C]
    parts: tuple[Tensor, ...] = flat.split([len(asked(row, task)[0]) for row in rows])
    return parts
