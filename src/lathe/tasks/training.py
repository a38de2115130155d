"""Training for a task: evaluate between the steps, keep the best model by the task's first metric."""

from typing import Any

from pydantic import Field
from transformers import PreTrainedModel

from lathe.core.batches import Plan, Source, StepSize
from lathe.core.errors import LatheError
from lathe.core.fit import Course, fit, keep_best
from lathe.core.learn import Train
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import Objective, Symbols
from lathe.core.work import Work
from lathe.tasks.examples import Examples, evaluate

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
    selector = next(iter(predictor.task.metrics))
    memory: dict[str, Any] = {}
    for step in fit(model, course, config, work, memory):
        if step.number % every == 0 or step.number == total:
            scores = score(predictor, validation)
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


def course_of(objective: Objective, source: Source, tokenizer: Any, config: TaskTrain) -> Course:
    plan = Plan(source.lengths, StepSize(config.batch_size), config.seed, WINDOW)
    return Course(objective, source, Symbols.of(tokenizer), plan, config.max_steps or plan.count(config.epochs))


def steps_between(course: Course, config: TaskTrain) -> int:
    """Steps from one evaluation to the next."""
    return config.eval_steps or course.plan.count(1)


def score(predictor: TaskPredictor, examples: Examples) -> dict[str, float]:
    """Every metric of the task on labelled rows."""
    golds = [predictor.task.gold(row) for row in examples.rows]
    return evaluate(predictor.task.metrics, golds, predictor.predict(examples.encoded))
