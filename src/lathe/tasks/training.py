"""Training for a task: evaluate between the steps, keep the best model, end where nothing better comes."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from transformers import PreTrainedModel

from lathe.core.batches import Plan, Rows, Source, StepSize, cut
from lathe.core.coupled import Coupled, whole_step
from lathe.core.errors import RecipeError, did_you_mean
from lathe.core.fit import ENOUGH, Course, fit, keep_best
from lathe.core.keyed import row_seeds, uniform
from lathe.core.learn import Train
from lathe.core.predictions import Text
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import autocast, dtype_of
from lathe.core.types import Batch, Objective, Symbols
from lathe.core.work import Work
from lathe.tasks.examples import Examples, answers_to, evaluate
from lathe.tasks.forward import Writes
from lathe.tasks.selection import LOSS, Selection

T = TypeVar("T")
WRITTEN_ROWS = 200
WINDOW = 4
"""Steps among which rows are exchanged so that each has rows of like length: a tenth faster, equal in accuracy."""


@recipe
class TaskTrain(Train):
    """What training on labelled rows can be told."""

    epochs: float = Field(4.0, gt=0, le=10_000)
    """Passes over the training rows."""
    batch_size: int = Field(32, ge=1)
    """Rows in each optimizer step."""
    eval_steps: int | None = Field(None, ge=1)
    """Steps between evaluations; without it once an epoch."""
    eval_epochs: float | None = Field(None, gt=0)
    """Passes over the training rows between evaluations, instead of eval_steps; 0.5: twice in each."""
    metric_for_best_model: str | None = None
    """Metric of the validation rows that selects the model, one of the task's, or loss; the task's first by itself."""
    early_stopping_patience: int | None = Field(None, ge=1)
    """End after so many evaluations in a row that found nothing better; without it all steps are taken."""
    early_stopping_threshold: float = Field(0.0, ge=0)
    """Better is what is better by more than this than what last was; small gains add up."""
    max_eval_samples: int | None = Field(None, ge=1)
    """Most validation rows answered between steps, chosen by key; all if not given, or 200 where answers are written.
    At the end, and for the loss of written answers, all are taken."""


def train_on(
    objective: Objective,
    source: Source,
    model: PreTrainedModel,
    predictor: TaskPredictor,
    validation: Examples,
    config: TaskTrain,
    work: Work,
) -> dict[str, Any]:
    """Train ``model``, which ``predictor`` predicts with; returns which step is the best, why, and how many there were.

    The model ends as it was after the last step; ``restore_best`` brings back the best one.
    """
    course = course_of(objective, source, predictor.tokenizer, config)
    found = watch(model, predictor, validation, config)
    return train_watched(model, course, found, selection_of(predictor.task, config), config, work)


def watch(
    model: PreTrainedModel, predictor: TaskPredictor, validation: Examples, config: TaskTrain
) -> Callable[[], dict[str, float]]:
    """What finds, between two steps, every metric of the task on validation rows, and their loss."""
    metrics = predictor.task.metrics
    if isinstance(predictor.task, Writes):  # a library that a metric lacks is missed now, not after an epoch
        evaluate(metrics, [("a",)], [Text("a")])
    watched = watched_of(validation, predictor.task, config)
    if len(watched.rows) < len(validation.rows):
        say(f"between steps {len(watched.rows):,} of {len(validation.rows):,} validation rows are answered")
    learnt = validation if isinstance(predictor.task, Writes) else watched
    return lambda: validated(predictor, watched) | {LOSS: mean_loss(model, predictor, learnt, config)}


def train_watched(
    model: PreTrainedModel,
    course: Course,
    watched: Callable[[], Mapping[str, float]],
    selection: Selection,
    config: TaskTrain,
    work: Work,
) -> dict[str, Any]:
    """Train ``model`` and keep the best step by what ``watched`` finds between steps, as `train_on` does."""
    total, every = course.total, steps_between(course, config)
    memory: dict[str, Any] = {}
    for step in fit(model, course, config, work, memory):
        if step.number % every == 0 or step.number == total:
            scores = watched()
            work.log("evaluation", step=step.number, **_numbers(scores))
            found = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            say(f"step {step.number} of {total}: validation {found}")
            if selection.is_best(memory, step.number, scores):
                keep_best(work, model, step.number)
            if selection.has_enough(memory):
                say(f"step {step.number}: ends early, nothing better came (patience {selection.patience})")
                memory[ENOUGH] = True
    return selection.outcome(memory, total)


def _numbers(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that JSON has a form for."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def watched_of(validation: Examples, task: Any, config: TaskTrain) -> Examples:
    """The validation rows that are answered between steps."""
    most = config.max_eval_samples or (WRITTEN_ROWS if isinstance(task, Writes) else len(validation.rows))
    chosen = np.zeros(len(validation.rows), np.bool_)
    chosen[np.argsort(uniform(validation.keys, "watched", 1)[:, 0], kind="stable")[:most]] = True
    return validation.part(chosen)


def mean_loss(model: PreTrainedModel, predictor: TaskPredictor, examples: Examples, config: TaskTrain) -> float:
    """Nats an item, without dropout and what else belongs to training; not a number where there is nothing to learn."""
    task, source, symbols = predictor.task, examples.source, Symbols.of(predictor.tokenizer)
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    totals: dict[str, float] = defaultdict(float)
    items = Counter[str]()
    weights: dict[str, float] = {}

    def collate(rows: Rows) -> Batch:
        batch: Batch = task.collate([source[int(i)] for i in rows], row_seeds(0, 0, source.keys[rows]), symbols)
        return batch

    def run(compute: Callable[[Any, Batch], T], _: int, batch: Batch) -> T:
        with torch.no_grad(), autocast(place, dtype):
            return compute(model, batch.to(place))

    model.eval()
    for rows in _compared(task, source, config):
        micro = [collate(rows[part]) for part in cut(source.lengths[rows], config.tokens_per_batch)]
        for number, batch in enumerate(whole_step(task, micro, run)):
            for part in run(task.loss, number, batch):
                totals[part.name] += float(part.total)
                items[part.name] += part.items
                weights[part.name] = part.weight
    return sum(weights[name] * totals[name] / max(items[name], 1) for name in weights) if weights else math.nan


def _compared(task: Any, source: Source, config: TaskTrain) -> list[Rows]:
    """The rows that are compared with one another, as many as in a training step; else what makes a micro-batch."""
    if isinstance(task, Coupled):
        order = np.argsort(source.keys, kind="stable")
        return [order[some] for some in cut(np.ones_like(source.lengths), config.batch_size)]
    order = np.argsort(source.lengths, kind="stable")
    return [order[some] for some in cut(source.lengths[order], config.tokens_per_batch)]


def plan_of(source: Source, config: TaskTrain) -> Plan:
    return Plan(source.lengths, StepSize(config.batch_size), config.seed, WINDOW)


def course_of(objective: Objective, source: Source, tokenizer: Any, config: TaskTrain) -> Course:
    plan = plan_of(source, config)
    return Course(objective, source, Symbols.of(tokenizer), plan, config.max_steps or plan.count(config.epochs))


def steps_between(course: Course, config: TaskTrain) -> int:
    """Steps from one evaluation to the next."""
    return config.eval_steps or course.plan.count(config.eval_epochs or 1)


def selection_of(task: Any, config: TaskTrain) -> Selection:
    """What selects the model. Raises ``RecipeError`` for a metric that the task lacks, and for what does nothing."""
    name = config.metric_for_best_model or next(iter(task.metrics))
    if name != LOSS and name not in task.metrics:
        known = [*task.metrics, LOSS]
        raise RecipeError(
            f"train.metric_for_best_model: {name!r} is not one of {', '.join(known)}{did_you_mean(name, known)}"
        )
    if config.early_stopping_threshold and not config.early_stopping_patience:
        raise RecipeError("train.early_stopping_threshold: does nothing without train.early_stopping_patience")
    if config.eval_steps and config.eval_epochs:
        raise RecipeError("train.eval_epochs: give it or train.eval_steps, not both")
    return Selection(name, config.early_stopping_patience, config.early_stopping_threshold)


@runtime_checkable
class Tunable(Protocol):
    """A task with something that is chosen on validation rows: a threshold."""

    def tuned(self, golds: Sequence[Any], predictions: Sequence[Any]) -> Self:
        """The task with what is best for these rows; itself where there is nothing left to choose."""

    def decided(self, predictions: Sequence[Any]) -> Sequence[Any]:
        """The predictions by what was chosen."""


def tuned(predictor: TaskPredictor, validation: Examples) -> TaskPredictor:
    """The predictor with what its task chooses on validation rows."""
    if not isinstance(predictor.task, Tunable):
        return predictor
    task = predictor.task.tuned(_golds(predictor, validation), answers_to(predictor, validation))
    return replace(predictor, task=task)


def validated(predictor: TaskPredictor, validation: Examples) -> dict[str, float]:
    """Every metric of the task on validation rows, by what it chooses on them."""
    golds, predictions = _golds(predictor, validation), answers_to(predictor, validation)
    if isinstance(predictor.task, Tunable):
        predictions = [*predictor.task.tuned(golds, predictions).decided(predictions)]
    return evaluate(predictor.task.metrics, golds, predictions)


def _golds(predictor: TaskPredictor, examples: Examples) -> list[Any]:
    return [predictor.task.gold(row) for row in examples.rows]
