"""Compression: a model that answers and rows in; a smaller, faster one out, with what it costs."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lathe.compress.candidate import Candidate, Splits
from lathe.compress.distill import Distill
from lathe.compress.int8 import Int8
from lathe.compress.prune import Prune
from lathe.compress.report import Measured, golds_of, is_labelled, looked_at, measure_candidate, report
from lathe.compress.vocabulary import Vocabulary
from lathe.core import calibration, runtime
from lathe.core.bundle import Bundle, DataUse, Manifest, Runtime
from lathe.core.data import Columns, Table, check_labels, describe, load, warnings, write_quarantine
from lathe.core.errors import BundleError, GateError, RecipeError
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import dump, recipe
from lathe.core.report import say
from lathe.core.stats import Score
from lathe.core.work import Work, run_stage
from lathe.loader import task_of
from lathe.models.pretrained import open_model, open_tokenizer
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnyTask, Classify, Tag
from lathe.tasks.examples import encode, hold_out, use_of

AnyStep = Annotated[Prune | Distill | Vocabulary | Int8, Field(discriminator="kind")]


@recipe
class Data:
    train: Path | None = None
    """Rows to distil on, with labels or without: the teacher answers for those that have none. Pruning asks labels."""
    validation: Path | None = None
    """Labelled rows that select and measure; a share of labelled training rows is held out where not given."""
    test: Path | None = None
    """Labelled rows to measure on instead; they select nothing."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    validation_ratio: float = Field(0.1, gt=0, lt=1)
    """Share of the training rows held out where no validation file is given."""


@recipe
class Recipe:
    base: Path
    """Bundle of the model to compress; a distilled model learns from it, whatever steps come before."""
    data: Data
    """The rows."""
    steps: tuple[AnyStep, ...] = Field((Distill(), Int8()), min_length=1)
    """What is done, in this order; each at most once, int8 last."""
    max_drop: float | None = Field(None, ge=0)
    """Largest loss in the task's first metric, by the upper bound of its 95 % interval; beyond it nothing is made."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Compress; ``out`` becomes a bundle that opens with ``lathe.load``. Raises ``GateError`` beyond ``max_drop``."""
    kinds = [step.kind for step in recipe.steps]
    if len(set(kinds)) < len(kinds) or "int8" in kinds[:-1]:
        raise RecipeError(f"steps: {', '.join(kinds)}: each step can be taken once, and int8 is the last")
    if "distill" in kinds and "vocabulary" in kinds[: kinds.index("distill")]:
        raise RecipeError(f"steps: {', '.join(kinds)}: distill comes before vocabulary: its teacher reads all pieces")
    data = recipe.data
    inputs = [recipe.base, data.train, data.validation, data.test]
    if "distill" in kinds and data.train is None:
        raise RecipeError("data.train: distill needs rows to learn from; labels are optional")
    return run_stage("compress", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    runtime.set_up()
    base = _open_base(recipe.base)
    task, tokenizer = task_of(base), open_tokenizer(base.path)
    if not isinstance(task, Classify | Tag):
        raise BundleError(f"{recipe.base}: has the task {task.kind}; what can be compressed so far is classify and tag")
    splits, used = _read(recipe.data, task, tokenizer, work)
    for step in recipe.steps:
        step.check(base.path, tokenizer, splits, task)
    teacher = _teacher(base, task, tokenizer, splits)
    measured = [measure_candidate(teacher)]
    for number, step in enumerate(recipe.steps, 1):
        folder = work.result if number == len(recipe.steps) else work.path / step.kind
        folder.mkdir(exist_ok=True)
        measured.append(measure_candidate(step(measured[-1].candidate, teacher, work, folder)))
    scores, change = report(measured)
    _check_drop(recipe.max_drop, task, change)
    _calibrate(measured[-1], work)
    made = measured[-1].candidate.runtime
    return Manifest(kind="model", stage="compress", task=dump(task), data=used, scores=scores, runtime=made)


def _calibrate(last: Measured, work: Work) -> None:
    """By the answers to validation rows of the model that is published."""
    made = last.candidate
    examples = made.splits["validation"]
    is_answered = looked_at(made.splits) == "validation"
    predictions = last.predictions if is_answered else made.predictor.predict(examples.encoded)
    calibration.write(work.result, made.predictor.task.kind, golds_of(made, examples), predictions)


def _teacher(base: Bundle, task: AnyTask, tokenizer: Any, splits: Splits) -> Candidate:
    model = open_model(task.auto_model, base.path).model
    predictor = TaskPredictor(task, tokenizer, torch_forward(model))
    return Candidate("teacher", predictor, base.path, base.manifest.runtime or Runtime(), splits, model)


def _open_base(path: Path) -> Bundle:
    bundle = Bundle.open(path, kind="model")
    found = bundle.manifest.runtime
    if found is None or found.kind != "torch":
        what = f"{found.kind}, {found.precision}" if found else "without a runtime"
        raise BundleError(f"{path}: only torch models can be compressed, this one is {what}; give the one it came from")
    bundle.verify()
    return bundle


def _read(data: Data, task: AnyTask, tokenizer: Any, work: Work) -> tuple[Splits, tuple[DataUse, ...]]:
    """All rows; ``validation`` is always there, labelled. Raises ``DataError`` for a label the model does not have."""
    files = {"train": data.train, "validation": data.validation, "test": data.test}
    shapes = {"train": (*task.labelled, *task.unlabelled)}
    tables = {
        name: _table(path, shapes.get(name, task.labelled), data.columns, task)
        for name, path in files.items()
        if path is not None
    }
    write_quarantine([bad for table in tables.values() for bad in table.bad], work.path / "quarantine.jsonl")
    splits = {name: encode(table, task, tokenizer) for name, table in tables.items()}
    if "validation" not in splits:
        if not is_labelled(splits.get("train")):
            raise RecipeError("data.validation: needed, since there are no labelled training rows to hold some out of")
        splits["train"], splits["validation"] = hold_out(splits["train"], task, data.validation_ratio)
    return splits, tuple(use_of(table) for table in tables.values())


def _table(path: Path, shapes: Any, columns: Columns, task: AnyTask) -> Table:
    table = load(path, shapes, columns)
    for line in (describe(table), *warnings(table)):
        say(line)
    check_labels(table, task.labels or (), task.labels_in)
    return table


def _check_drop(max_drop: float | None, task: AnyTask, change: Score) -> None:
    if max_drop is not None and -change.low > max_drop:
        metric = next(iter(task.metrics))
        raise GateError(
            f"{metric} may have dropped by {-change.low:.4f} (95 % bound; measured {-change.value:.4f}), more than "
            f"max_drop={max_drop}; nothing is published. Keep more layers, train longer, drop a step, or allow more"
        )
