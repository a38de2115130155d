"""Training for a task: evaluate between the steps, keep the best model by the task's first metric."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from transformers import PreTrainedModel

from lathe.core.batches import Plan, Source, StepSize, cut
from lathe.core.errors import LatheError
from lathe.core.fit import Course, fit, keep_best
from lathe.core.keyed import row_seeds, uniform
from lathe.core.learn import Train
from lathe.core.predictions import Text
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import autocast, dtype_of
from lathe.core.types import Objective, Part, Symbols
from lathe.core.work import Work
from lathe.tasks.examples import Examples, evaluate
from lathe.tasks.forward import Writes

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
    """Train ``model``, which ``predictor`` predicts with; returns the best step and the number of steps.

    The model ends as it was after the last step; ``restore_best`` brings back the best one.
    """
    course = course_of(objective, source, predictor.tokenizer, config)
    total, every = course.total, steps_between(course, config)
    metrics = predictor.task.metrics
    selector = next(iter(metrics))
    if isinstance(predictor.task, Writes):  # a library that a metric lacks is missed now, not after an epoch
        evaluate(metrics, [("a",)], [Text("a")])
    watched = watched_of(validation, predictor.task, config)
    if len(watched.rows) < len(validation.rows):
        say(f"between steps {len(watched.rows):,} of {len(validation.rows):,} validation rows are answered")
    memory: dict[str, Any] = {}
    for step in fit(model, course, config, work, memory):
        if step.number % every == 0 or step.number == total:
            scores = validated(predictor, watched)
            if isinstance(predictor.task, Writes):
                scores["loss"] = mean_loss(model, predictor, validation, config)
            work.log("evaluation", step=step.number, **scores)
            found = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            say(f"step {step.number} of {total}: validation {found}")
            keep_best(work, model, memory, step.number, scores[selector])
    if "best_step" not in memory:
        raise LatheError(
            f"validation {selector}: no evaluation found a number above -inf, so no step is the best; look at the rows "
            "of data.validation, and lower train.learning_rate if the loss rose"
        )
    return {"best_step": memory["best_step"], "steps": total}


def watched_of(validation: Examples, task: Any, config: TaskTrain) -> Examples:
    """The validation rows that are answered between steps."""
    most = config.max_eval_samples or (WRITTEN_ROWS if isinstance(task, Writes) else len(validation.rows))
    chosen = np.zeros(len(validation.rows), np.bool_)
    chosen[np.argsort(uniform(validation.keys, "watched", 1)[:, 0], kind="stable")[:most]] = True
    return validation.part(chosen)


def mean_loss(model: PreTrainedModel, predictor: TaskPredictor, examples: Examples, config: TaskTrain) -> float:
    """Nats an item, without dropout and what else belongs to training."""
    task, source, symbols = predictor.task, examples.source, Symbols.of(predictor.tokenizer)
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    order = np.argsort(source.lengths, kind="stable")
    totals: dict[str, float] = defaultdict(float)
    items = Counter[str]()
    weights: dict[str, float] = {}
    model.eval()
    for some in cut(source.lengths[order], config.tokens_per_batch):
        rows = order[some]
        batch = task.collate([source[int(i)] for i in rows], row_seeds(0, 0, source.keys[rows]), symbols)
        with torch.no_grad(), autocast(place, dtype):
            parts: list[Part] = task.loss(model, batch.to(place))
        for part in parts:
            totals[part.name] += float(part.total)
            items[part.name] += part.items
            weights[part.name] = part.weight
    return sum(weights[name] * totals[name] / max(items[name], 1) for name in weights)


def course_of(objective: Objective, source: Source, tokenizer: Any, config: TaskTrain) -> Course:
    plan = Plan(source.lengths, StepSize(config.batch_size), config.seed, WINDOW)
    return Course(objective, source, Symbols.of(tokenizer), plan, config.max_steps or plan.count(config.epochs))


def steps_between(course: Course, config: TaskTrain) -> int:
    """Steps from one evaluation to the next."""
    return config.eval_steps or course.plan.count(1)


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
    task = predictor.task.tuned(_golds(predictor, validation), predictor.predict(validation.encoded))
    return replace(predictor, task=task)


def validated(predictor: TaskPredictor, validation: Examples) -> dict[str, float]:
    """Every metric of the task on validation rows, by what it chooses on them."""
    golds, predictions = _golds(predictor, validation), predictor.predict(validation.encoded)
    if isinstance(predictor.task, Tunable):
        predictions = [*predictor.task.tuned(golds, predictions).decided(predictions)]
    return evaluate(predictor.task.metrics, golds, predictions)


def score(predictor: TaskPredictor, examples: Examples) -> dict[str, float]:
    """Every metric of the task on labelled rows."""
    return evaluate(predictor.task.metrics, _golds(predictor, examples), predictor.predict(examples.encoded))


def _golds(predictor: TaskPredictor, examples: Examples) -> list[Any]:
    return [predictor.task.gold(row) for row in examples.rows]
