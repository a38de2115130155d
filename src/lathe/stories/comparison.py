"""Several models and their cheap baseline on the same test rows: quality with intervals, size, speed, who is better."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from lathe.core import stats
from lathe.core.bundle import Bundle, Manifest
from lathe.core.data import LABELLED, load
from lathe.core.digest import write_json
from lathe.core.errors import DataError
from lathe.core.measure import Speed, measure
from lathe.core.metrics import accuracy, confusion, macro_f1
from lathe.core.recipe import dump, parse, recipe
from lathe.core.report import progress
from lathe.core.stats import Score
from lathe.core.types import Predictor, Row
from lathe.core.work import Work, run_stage
from lathe.loader import load as load_model
from lathe.models.baselines import tfidf_logistic

BASELINE = "TF-IDF + logistic regression"
RESULT = "comparison.json"
EXAMPLES = 6  # of each kind


@recipe
class Contestant:
    """A model; several of one group differ in their seed alone, and the group is shown once."""

    group: str
    bundle: Path


@recipe
class Pair:
    """Two groups to compare row by row."""

    old: str
    new: str


@recipe
class Recipe:
    contestants: tuple[Contestant, ...]
    """Models in the order of the table; the last one is the result."""
    pairs: tuple[Pair, ...] = ()
    """Which groups to compare; the baseline is one."""
    train: Path
    """Rows the baseline learns from."""
    test: Path
    """Rows that everything is measured on."""
    budget_s: float = Field(2.0, gt=0)
    """Seconds for the speed of each group."""


@recipe
class Result:
    """One group: the quality of its middle run with 95 % intervals, and the accuracy of every run."""

    group: str
    size_bytes: int
    accuracy: Score
    macro_f1: Score
    speed: Speed
    accuracies: tuple[float, ...]


@recipe
class Difference:
    """Accuracy of ``new`` minus that of ``old``, paired by row and run."""

    old: str
    new: str
    score: Score


@recipe
class Example:
    text: str
    gold: str
    predicted: str
    confidence: float


@recipe
class Comparison:
    """All that is known in the end; every number of a report stands here."""

    rows: int
    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Of the result: gold label, predicted label -> rows."""
    right: tuple[Example, ...]
    wrong: tuple[Example, ...]


class Run(NamedTuple):
    """A predictor and what it says about the test rows."""

    group: str
    predictor: Predictor
    size_bytes: int
    predictions: list[Any]


def run(recipe: Recipe, out: Path) -> Bundle:
    """Compare; ``out`` becomes a report bundle with a ``comparison.json``."""
    inputs = [recipe.train, recipe.test, *(contestant.bundle for contestant in recipe.contestants)]
    return run_stage("quickstart", recipe, out, inputs, partial(_make, recipe))


def read_comparison(folder: Path) -> Comparison:
    comparison: Comparison = parse(Comparison, json.loads((folder / RESULT).read_text(encoding="utf-8")))
    return comparison


def _make(recipe: Recipe, work: Work) -> Manifest:
    rows = load(recipe.test, LABELLED).rows
    golds = [row["label"] for row in rows]
    if not rows:
        raise DataError(f"{recipe.test}: no rows to compare on")
    with progress("comparing", len(recipe.contestants) + 1, "models") as meter:
        runs = []
        for one in _runs(recipe, rows):
            runs.append(one)
            meter.advance(1, one.group)
    comparison = compare(runs, recipe.pairs, rows, golds, recipe.budget_s)
    write_json(work.result / RESULT, dump(comparison))
    scores = {result.group: result.accuracy.value for result in comparison.results}
    return Manifest(kind="report", stage="quickstart", scores=scores)


def _runs(recipe: Recipe, rows: Sequence[Row]) -> Iterator[Run]:
    baseline = tfidf_logistic(load(recipe.train, LABELLED).rows)
    yield Run(BASELINE, baseline, baseline.size_bytes, baseline(rows))
    for contestant in recipe.contestants:
        predictor = load_model(contestant.bundle)
        yield Run(contestant.group, predictor, Bundle.open(contestant.bundle).size_bytes, predictor(rows))


def compare(
    runs: Sequence[Run], pairs: Sequence[Pair], rows: Sequence[Row], golds: Sequence[str], budget_s: float
) -> Comparison:
    """Score the groups in their order; the last one is looked at closely."""
    groups = {group: [one for one in runs if one.group == group] for group in dict.fromkeys(one.group for one in runs)}
    labels = tuple(sorted({*golds, *(answer.label for answer in runs[-1].predictions)}))
    examples = [
        Example(text=row["text"], gold=gold, predicted=answer.label, confidence=answer.scores[answer.label])
        for row, gold, answer in zip(rows, golds, runs[-1].predictions, strict=True)
    ]
    return Comparison(
        rows=len(rows),
        results=tuple(_result(members, rows, golds, budget_s) for members in groups.values()),
        differences=tuple(_difference(groups[pair.old], groups[pair.new], golds) for pair in pairs),
        labels=labels,
        confusion=tuple(map(tuple, confusion(golds, runs[-1].predictions, labels).tolist())),
        right=_spread([e for e in examples if e.gold == e.predicted]),
        wrong=_spread([e for e in examples if e.gold != e.predicted]),
    )


def _result(members: Sequence[Run], rows: Sequence[Row], golds: Sequence[str], budget_s: float) -> Result:
    scored = sorted(members, key=lambda one: accuracy(golds, one.predictions))
    middle = scored[(len(scored) - 1) // 2]
    return Result(
        group=middle.group,
        size_bytes=middle.size_bytes,
        accuracy=stats.score(accuracy, golds, middle.predictions),
        macro_f1=stats.score(macro_f1, golds, middle.predictions),
        speed=measure(middle.predictor, rows, budget_s),
        accuracies=tuple(accuracy(golds, one.predictions) for one in members),
    )


def _difference(old: Sequence[Run], new: Sequence[Run], golds: Sequence[str]) -> Difference:
    """A group of one run is compared with each run of the other."""
    count = max(len(old), len(new))
    before, after = ([one.predictions for one in (group * count)[:count]] for group in map(list, (old, new)))
    return Difference(old=old[0].group, new=new[0].group, score=stats.mean_difference(accuracy, golds, before, after))


def _spread(examples: Sequence[Example]) -> tuple[Example, ...]:
    """A few examples from sure to unsure, so that none is picked by hand."""
    ranked = sorted(examples, key=lambda example: -example.confidence)
    step = max(1, -(-len(ranked) // EXAMPLES))
    return tuple(ranked[::step])
