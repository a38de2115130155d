"""Distillation: a smaller student learns the teacher's probabilities beside the gold answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lathe.compress.candidate import Candidate, Splits, asked, flat_positions, logits_of, saved
from lathe.compress.student import AnyStudent, Base, Layers, check_same_tokens
from lathe.core import checkpoint
from lathe.core.batches import EncodedRows, StepSize, refuse_sizes
from lathe.core.errors import RecipeError
from lathe.core.fit import restore_best, settled
from lathe.core.keyed import Seeds
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import progress, say
from lathe.core.types import IGNORE, Batch, Encoded, Forward, Part, Symbols
from lathe.core.work import Work
from lathe.models.pretrained import longest_input
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnyTask
from lathe.tasks.training import TaskTrain, selection_of, train_on

ROWS_PER_BLOCK = 4096
"""Rows whose soft targets are saved together: what a kill may cost."""
COMPARED_TEXTS = 1000


@recipe
class DistillTrain(TaskTrain):
    learning_rate: float = Field(2e-4, gt=0)
    """Highest learning rate."""
    epochs: float = Field(6.0, gt=0)
    """Passes over the training rows."""


@recipe
class Distill:
    """Train a smaller student on the teacher's soft targets (Hinton et al., 2015)."""

    kind: Literal["distill"] = "distill"
    student: AnyStudent = Layers()
    """The smaller model: some of the teacher's layers, another base, or a new one."""
    temperature: float = Field(2.0, gt=0)
    """Divides the logits of both: above 1 the teacher's second thoughts count more."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the teacher's probabilities; the gold answers have the rest."""
    train: DistillTrain = DistillTrain()
    """How to train."""

    def check(self, teacher: Path, tokenizer: Any, splits: Splits, task: AnyTask) -> None:
        """What can be known to be wrong before a model is loaded."""
        if isinstance(self.student, Base):
            texts = [row["text"] for row in splits["train"].rows[:COMPARED_TEXTS]]
            check_same_tokens(tokenizer, self.student.path, texts)
        longest = longest_input(tokenizer, self.student.config(teacher, tokenizer))
        if task.max_length and task.max_length > longest:
            raise RecipeError(f"student: takes {longest} tokens, the teacher was trained with {task.max_length}")
        selection_of(task, self.train)
        source = splits["train"].source
        refuse_sizes(source.lengths, StepSize(self.train.batch_size), self.train.tokens_per_batch)
        if "token_type_ids" in source[0] and getattr(self.student.config(teacher, tokenizer), "type_vocab_size", 0) < 2:
            raise RecipeError(
                "student: does not tell the two texts of a pair apart (type_vocab_size), the teacher does"
            )
        golds = (gold for row in source.rows for gold in asked(row, task)[1])
        if self.alpha == 0 and all(gold == IGNORE for gold in golds):
            raise RecipeError("alpha: 0 learns from gold answers only, and data.train has none")

    def __call__(self, given: Candidate, teacher: Candidate, work: Work, folder: Path) -> Candidate:
        """A student, made from ``given`` or new, learns; that with the best validation score is saved in ``folder``."""
        task, tokenizer = given.predictor.task, given.predictor.tokenizer
        splits, source = given.splits, given.splits["train"].source
        targets = soft_targets(teacher.predictor.forward, source, task, Symbols.of(tokenizer), work.path / "soft")
        student = self.student.make(given.folder, task, tokenizer, self.train.seed)
        say(f"student: {student.config.model_type}, {student.num_parameters():,} parameters")
        config = settled(self.train, work)
        learning = TaskPredictor(task, tokenizer, torch_forward(student, config.precision))
        rows = [dict(row) | {"soft": soft} for row, soft in zip(source.rows, targets, strict=True)]
        objective = SoftTargets(task, self.temperature, self.alpha)
        notes = train_on(
            objective, EncodedRows(rows, source.keys), student, learning, splits["validation"], config, work
        )
        restore_best(work, student)
        return saved("distill", student, given, folder, notes)


@dataclass(frozen=True)
class SoftTargets:
    """(1 - alpha) CE(gold, student) + alpha tau^2 KL(teacher_tau || student_tau), of Hinton et al. (2015), section 2.

    p_tau = softmax(logits / tau). The gradient of the second term falls with 1 / tau^2, hence the factor. Each term has
    items of its own: an answer without gold has the second one only. The teacher's logits are data: row key ``soft``,
    [answers, C], one for each label or word that the row asks for.
    """

    task: AnyTask
    temperature: float
    alpha: float

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs = self.task.collate(rows, seeds, symbols).inputs
        labels = torch.tensor([gold for row in rows for gold in asked(row, self.task)[1]], dtype=torch.int64)  # [M]
        positions = flat_positions(rows, inputs["input_ids"].shape[1], self.task)  # [M]
        targets = {"labels": labels, "positions": positions, "soft": torch.cat([row["soft"] for row in rows])}  # [M, C]
        return Batch(inputs, targets, {"gold": int((labels != IGNORE).sum()), "teacher": len(labels)})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = model(**batch.inputs).logits.float().flatten(0, -2)[batch.targets["positions"]]  # [M, C]
        hard = F.cross_entropy(logits, batch.targets["labels"], ignore_index=IGNORE, reduction="sum")
        soft = divergence(batch.targets["soft"], logits, self.temperature)
        return [
            Part("gold", hard, batch.items["gold"], 1 - self.alpha),
            Part("teacher", soft, batch.items["teacher"], self.alpha * self.temperature**2),
        ]


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """sum over M of KL(softmax(teacher / tau) || softmax(student / tau)), in nats, of logits [M, C].

    The teacher gets no gradient.
    """
    target = (teacher.detach() / temperature).log_softmax(-1)
    return F.kl_div((student / temperature).log_softmax(-1), target, reduction="sum", log_target=True)


def soft_targets(forward: Forward, source: EncodedRows, task: AnyTask, symbols: Symbols, folder: Path) -> list[Tensor]:
    """The teacher's logits for every row, kept in ``folder`` block by block: a run that goes on does not ask twice.

    A block is used again where its bytes and its row keys are the same; the work folder belongs to one teacher.
    """
    answers: list[Tensor] = []
    with progress("asking the teacher", len(source), "rows") as meter:
        for start in range(0, len(source), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            place, keys = folder / f"{start:09d}", torch.from_numpy(source.keys[block].view(np.int64).copy())
            saved = checkpoint.newest(place)
            if saved is not None and torch.equal(saved.tensors["keys"], keys):
                tensors = saved.tensors
            else:
                tensors = {"keys": keys} | _packed(logits_of(forward, source.rows[block], task, symbols))
                checkpoint.save(place, 0, tensors, {})
            answers += _unpacked(tensors)
            meter.advance(len(keys))
    return answers


def _packed(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    return {"logits": torch.cat(list(rows)), "counts": torch.tensor([len(row) for row in rows])}


def _unpacked(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    return list(tensors["logits"].split(tensors["counts"].tolist()))
