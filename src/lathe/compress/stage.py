"""Compression: a model that answers and rows in; a smaller, faster one out, with what it costs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from lathe.compress.candidate import Candidate, Splits
from lathe.compress.distill import Distill
from lathe.compress.int8 import Int8
from lathe.core import runtime, stats
from lathe.core.bundle import Bundle, DataUse, Manifest
from lathe.core.data import Columns, Table, check_labels, describe, load, warnings, write_quarantine
from lathe.core.errors import BundleError, GateError, RecipeError
from lathe.core.measure import Speed, measure
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import dump, recipe
from lathe.core.report import say
from lathe.core.stats import Score
from lathe.core.types import Prediction
from lathe.core.work import Work, run_stage
from lathe.loader import task_of
from lathe.models.baselines import baseline
from lathe.models.pretrained import open_model, open_tokenizer
from lathe.runtimes.eager import ready, torch_forward
from lathe.tasks import AnyTask
from lathe.tasks.examples import Examples, encode, evaluate, hold_out, use_of


def _with_kind(step: Any) -> Any:
    """``steps = ["int8"]``: a step with all its defaults goes by its name."""
    return {"kind": step} if isinstance(step, str) else step


AnyStep = Annotated[Annotated[Distill | Int8, Field(discriminator="kind")], BeforeValidator(_with_kind)]


@recipe
class Data:
    train: Path | None = None
    """Rows to distil on, with labels or without: the teacher answers for those that have none."""
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
    """Bundle of the model to compress; a distilled model learns from it."""
    data: Data
    """The rows."""
    steps: tuple[AnyStep, ...] = Field((Distill(), Int8()), min_length=1)
    """What is done, in this order; each at most once, int8 last."""
    max_drop: float | None = Field(None, ge=0)
    """Largest loss in the task's first metric, by the upper bound of its 95 % interval; nothing is published beyond it."""


class Measured(NamedTuple):
    """One model, in figures."""

    scores: dict[str, float]
    speed: Speed
    size_bytes: int
    predictions: Sequence[Prediction]


def run(recipe: Recipe, out: Path) -> Bundle:
    """Compress; ``out`` becomes a bundle that opens with ``lathe.load``. Raises ``GateError`` beyond ``max_drop``."""
    kinds = [step.kind for step in recipe.steps]
    if len(set(kinds)) < len(kinds) or "int8" in kinds[:-1]:
        raise RecipeError(f"steps: {', '.join(kinds)}: each step can be taken once, and int8 is the last")
    data = recipe.data
    if "distill" in kinds and data.train is None:
        raise RecipeError("data.train: distill needs rows to learn from; labels are optional")
    return run_stage("compress", recipe, out, [recipe.base, data.train, data.validation, data.test], partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    runtime.set_up()
    base = _open_base(recipe.base)
    task, tokenizer = task_of(base), open_tokenizer(base.path)
    splits, used = _read(recipe.data, task, tokenizer, work)
    for step in recipe.steps:
        step.check(base.path, tokenizer, splits, task)
    model = ready(open_model(task.auto_model, base.path).model)
    teacher = Candidate("teacher", TaskPredictor(task, tokenizer, torch_forward(model)), base.path, base.manifest.runtime, model)
    candidates = [teacher]
    measured = [_measure(teacher, splits)]
    for number, step in enumerate(recipe.steps, 1):
        folder = work.result if number == len(recipe.steps) else work.path / step.kind
        folder.mkdir(exist_ok=True)
        candidates.append(step(candidates[-1], splits, work, folder))
        measured.append(_measure(candidates[-1], splits))
    scores = _report(task, candidates, measured, splits)
    _check_drop(recipe.max_drop, task, Score(**scores["change"]))
    return Manifest(kind="model", stage="compress", task=dump(task), data=used, scores=scores, runtime=candidates[-1].runtime)


def _open_base(path: Path) -> Bundle:
    bundle = Bundle.open(path, kind="model")
    found = bundle.manifest.runtime
    if found is None or found.kind != "torch":
        raise BundleError(f"{path}: this model is compressed already ({found.precision if found else 'no runtime'}); give the one it came from")
    bundle.verify()
    return bundle


def _read(data: Data, task: AnyTask, tokenizer: Any, work: Work) -> tuple[Splits, tuple[DataUse, ...]]:
    """All rows; ``validation`` is always there and labelled. Raises ``DataError`` for a label that the model does not have."""
    either = (*task.labelled, *task.unlabelled)
    files = {"train": (data.train, either), "validation": (data.validation, task.labelled), "test": (data.test, task.labelled)}
    tables = {name: _table(path, shapes, data.columns, task) for name, (path, shapes) in files.items() if path is not None}
    write_quarantine([bad for table in tables.values() for bad in table.bad], work.path / "quarantine.jsonl")
    splits = {name: encode(table, task, tokenizer) for name, table in tables.items()}
    if "validation" not in splits:
        if not _is_labelled(splits.get("train")):
            raise RecipeError("data.validation: needed, since there are no labelled training rows to hold some out of")
        splits["train"], splits["validation"] = hold_out(splits["train"], data.validation_ratio)
    return splits, tuple(use_of(table) for table in tables.values())


def _table(path: Path, shapes: Any, columns: Columns, task: AnyTask) -> Table:
    table = load(path, shapes, columns)
    for line in (describe(table), *warnings(table)):
        say(line)
    check_labels(table, task.labels or ())
    return table


def _is_labelled(examples: Examples | None) -> bool:
    return examples is not None and bool({"label", "spans"} & examples.rows[0].keys())


def _looked_at(splits: Splits) -> str:
    return "test" if "test" in splits else "validation"


def _measure(candidate: Candidate, splits: Splits) -> Measured:
    """Score, size and speed of one model, on this machine as it is now."""
    task, examples = candidate.predictor.task, splits[_looked_at(splits)]
    predictions = candidate.predictor.predict(examples.encoded)
    scores = evaluate(task.metrics, [task.gold(row) for row in examples.rows], predictions)
    return Measured(scores, measure(candidate.predictor, examples.rows), candidate.size_bytes, predictions)


def _report(task: AnyTask, candidates: Sequence[Candidate], measured: Sequence[Measured], splits: Splits) -> dict[str, Any]:
    """What goes into the manifest; the same is said as a table."""
    split = _looked_at(splits)
    golds = [task.gold(row) for row in splits[split].rows]
    metric, first, last = next(iter(task.metrics)), measured[0], measured[-1]
    change = stats.difference(task.metrics[metric], golds, first.predictions, last.predictions)
    scores: dict[str, Any] = {split: last.scores, f"{split}_teacher": first.scores}
    if _is_labelled(splits.get("train")):
        simple = baseline(task.kind)(splits["train"].rows)
        scores[f"{split}_baseline"] = evaluate(task.metrics, golds, simple(splits[split].rows))
    say("\n".join(_lines(metric, candidates, measured, scores.get(f"{split}_baseline", {}))))
    say(f"{split} {metric}, {candidates[-1].name} against teacher: {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]")
    models = {c.name: _figures(m) | dict(c.notes) for c, m in zip(candidates, measured, strict=True)}
    return scores | {"change": change._asdict(), "models": models}


def _figures(measured: Measured) -> dict[str, Any]:
    return measured.scores | {"size_bytes": measured.size_bytes} | measured.speed._asdict()


def _lines(metric: str, candidates: Sequence[Candidate], measured: Sequence[Measured], simple: dict[str, float]) -> list[str]:
    lines = [f"{'model':<10}{metric:>12}{'MiB':>9}{'p50 ms':>9}{'p95 ms':>9}{'rows/s':>10}"]
    for candidate, (scores, speed, size_bytes, _) in zip(candidates, measured, strict=True):
        figures = f"{size_bytes / 2**20:>9.2f}{speed.p50_ms:>9.2f}{speed.p95_ms:>9.2f}{speed.rows_per_second:>10,.0f}"
        lines.append(f"{candidate.name:<10}{scores[metric]:>12.4f}{figures}")
    return lines + ([f"{'baseline':<10}{simple[metric]:>12.4f}"] if simple else [])


def _check_drop(max_drop: float | None, task: AnyTask, change: Score) -> None:
    if max_drop is not None and -change.low > max_drop:
        metric = next(iter(task.metrics))
        raise GateError(
            f"{metric} may have dropped by {-change.low:.4f} (95 % bound; measured {-change.value:.4f}), more than "
            f"max_drop={max_drop}; nothing is published. Keep more layers, train longer, leave out a step, or allow more"
        )
