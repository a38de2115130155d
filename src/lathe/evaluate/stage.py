"""Evaluation: a model and labelled rows in; every score with its interval, size, speed and the errors out."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.data import Columns, Table, check_labels, write_quarantine
from lathe.core.digest import write_json
from lathe.core.errors import BundleError, RecipeError
from lathe.core.measure import Speed, measure
from lathe.core.metrics import METRICS
from lathe.core.predictions import Label, Prediction, Ranking
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import progress, say
from lathe.core.runtime import Precision
from lathe.core.search import Collection
from lathe.core.stats import Score, difference, mcnemar, score
from lathe.core.types import Metric
from lathe.core.work import Work, run_stage
from lathe.evaluate.report import report
from lathe.evaluate.result import Comparison, Evaluation, as_sent, gold_json, mistakes
from lathe.loader import load, task_of
from lathe.models.baselines import BM25Search
from lathe.tasks import AnyTask
from lathe.tasks.examples import Arranges, Examples, answers_to, encode, read_collection, read_tables, searched, use_of

SHOWN_PLACES = 10  # of a ranking
CHUNK_ROWS = 2048  # between two signs of progress
_ALSO = {
    "classify": ("mcc", "ece", "brier", "auroc", "average_precision"),
    "multilabel": ("micro_precision", "micro_recall", "auroc", "average_precision"),
    "score": ("rmse",),
}  # metrics of a kind of task beside the ones it names itself


@recipe
class Data:
    test: Path
    """Labelled rows: JSONL, CSV, TSV or Parquet, plain or compressed."""
    collection: Path | None = None
    """Texts that are searched, with ids or without; where not given, the texts that stand in the rows."""
    before: Path | None = None
    """Interactions before those of test, of task.kind=recommend: what its users took earlier, in files of training."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""


@recipe
class Recipe:
    bundle: Path
    """The model."""
    data: Data
    """The labelled rows."""
    compare: Path | None = None
    """Another model, answering the same rows: each difference gets its paired interval."""
    examples: int = Field(100, ge=0)
    """Most errors shown in the report; predictions.jsonl holds all rows."""
    precision: Precision = "fp32"
    """Of matrix products, for a torch model."""


@dataclass(frozen=True)
class Answers:
    """A model and what it said."""

    bundle: Bundle
    predictions: Sequence[Prediction]
    speed: Speed


def run(recipe: Recipe, out: Path) -> Bundle:
    """Score a model; ``out`` becomes a report that names the model's digest."""
    inputs = [recipe.bundle, recipe.data.test, recipe.data.collection, recipe.data.before, recipe.compare]
    return run_stage("evaluate", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    bundles = [Bundle.open(path, kind="model") for path in (recipe.bundle, recipe.compare) if path is not None]
    task = task_of(bundles[0])
    if recipe.data.before is not None and not isinstance(task, Arranges):
        raise RecipeError(f"data.before: a task of the kind {task.kind} has no histories; leave it out")
    files = {"before": recipe.data.before, "test": recipe.data.test}
    tables = read_tables(files, task, recipe.data.columns)
    collection = read_collection(recipe.data.collection, task, tables)
    table = tables["test"]
    if table.bad:
        write_quarantine(table.bad, work.path / "quarantine.jsonl")
    _check(bundles, table)
    answers = [_answer(bundle, table, collection, recipe.precision) for bundle in bundles]
    golds = [task.gold(row) for row in table.rows]
    evaluation = _score(task, table, golds, answers, _baseline(task, table, golds, collection))
    _write(work.result, evaluation, recipe.examples)
    return Manifest(kind="report", stage="evaluate", data=(use_of(table),), scores=_summary(evaluation))


def _check(bundles: Sequence[Bundle], table: Table) -> None:
    """Everything that can be wrong is found before a model is loaded: tasks that differ, labels that are unknown."""
    first, *others = [task_of(bundle) for bundle in bundles]
    for other, bundle in zip(others, bundles[1:], strict=True):
        if other.kind != first.kind:
            raise BundleError(f"compare: {bundle.path} has the task {other.kind}, {bundles[0].path} has {first.kind}")
    for task in (first, *others):
        check_labels(table, task.labels or (), task.labels_in)


def _answer(bundle: Bundle, table: Table, collection: Collection | None, precision: Precision) -> Answers:
    model = load(bundle.path, precision)
    examples: Examples = encode(table, model.task, model.tokenizer, collection)
    predictions = _predict(model, examples)
    return Answers(bundle, predictions, measure(model, [as_sent(row, model.task.unlabelled) for row in table.rows]))


def _predict(model: TaskPredictor, examples: Examples) -> Sequence[Prediction]:
    if examples.collection is not None:
        return answers_to(model, examples)
    predictions: list[Prediction] = []
    with progress("predicting", len(examples.rows)) as meter:
        for start in range(0, len(examples.rows), CHUNK_ROWS):
            predictions += model.predict(examples.encoded[start : start + CHUNK_ROWS])
            meter.advance(len(predictions) - start)
    return predictions


# ------------------------------------------------------------------------------------------------------------ scoring
def _score(
    task: AnyTask, table: Table, golds: Sequence[Any], answers: Sequence[Answers], baseline: Mapping[str, float]
) -> Evaluation:
    metrics = metrics_of(task)
    ours = answers[0]
    scores = {name: score(metric, golds, ours.predictions) for name, metric in metrics.items()}
    for name, value in scores.items():
        say(f"{name} {value}")
    return Evaluation(
        model=ours.bundle.name,
        digest=ours.bundle.digest,
        size_bytes=ours.bundle.size_bytes,
        speed=ours.speed,
        kind=task.kind,
        shapes=task.unlabelled,
        labels=task.labels or (),
        data=str(table.path),
        lines=table.lines,
        rows=table.rows,
        golds=golds,
        predictions=ours.predictions,
        scores=scores,
        baseline=baseline,
        comparison=_compare(metrics, golds, ours, answers[1]) if len(answers) > 1 else None,
    )


def metrics_of(task: AnyTask) -> dict[str, Metric]:
    """The metrics of a task, the one that selects first, and those that always go with its kind."""
    return dict(task.metrics) | {name: METRICS[name].metric for name in _ALSO.get(task.kind, ())}


def _baseline(task: AnyTask, table: Table, golds: Sequence[Any], given: Collection | None) -> dict[str, float]:
    """What a model scores that need not learn: the most frequent label for every row, or BM25 where rows search."""
    simple: Sequence[Prediction] = []
    if task.kind == "classify":
        most = Counter(sorted(golds)).most_common(1)[0][0]
        simple = [Label(most, {most: 1.0})] * len(golds)
    elif (collection := searched(task, table, given)) is not None:
        simple = BM25Search().search(table.rows, collection)
    return {name: float(metric(golds, simple)) for name, metric in metrics_of(task).items()} if simple else {}


def _compare(metrics: Mapping[str, Metric], golds: Sequence[Any], ours: Answers, other: Answers) -> Comparison:
    differences = {
        name: difference(metric, golds, other.predictions, ours.predictions) for name, metric in metrics.items()
    }
    for name, value in differences.items():
        say(f"{name}: {_signed(value)} against {other.bundle.name}")
    old, new = (_right(golds, one.predictions) for one in (other, ours))
    return Comparison(
        other.bundle.name, other.bundle.digest, other.bundle.size_bytes, other.speed, differences, mcnemar(old, new)
    )


def _signed(value: Score) -> str:
    return f"{value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


def _right(golds: Sequence[Any], predictions: Sequence[Prediction]) -> list[bool]:
    return [not mistakes(gold, prediction) for gold, prediction in zip(golds, predictions, strict=True)]


# ------------------------------------------------------------------------------------------------------------ writing
def _summary(evaluation: Evaluation) -> dict[str, Any]:
    """The scores of the manifest: of one shape with those of training."""
    test = {name: found.value for name, found in evaluation.scores.items()}
    interval = {name: [found.low, found.high] for name, found in evaluation.scores.items()}
    baseline = {"test_baseline": dict(evaluation.baseline)} if evaluation.baseline else {}
    speed = evaluation.speed._asdict()
    return {"test": test, "test_interval": interval} | baseline | {"size_bytes": evaluation.size_bytes} | speed


def _write(folder: Path, evaluation: Evaluation, examples: int) -> None:
    write_json(folder / "scores.json", evaluation.to_json())
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as stream:
        for line, row, gold, prediction in evaluation.by_row():
            told = {"line": line} | as_sent(row, evaluation.shapes)
            told |= {"gold": gold_json(gold), "prediction": _brief(prediction).to_json()}
            stream.write(json.dumps(told, ensure_ascii=False) + "\n")
    (folder / "report.html").write_text(report(evaluation, examples), encoding="utf-8")


def _brief(prediction: Prediction) -> Prediction:
    """The first places of a ranking tell enough of it."""
    if not isinstance(prediction, Ranking):
        return prediction
    return Ranking(prediction.ids[:SHOWN_PLACES], prediction.scores[:SHOWN_PLACES])
