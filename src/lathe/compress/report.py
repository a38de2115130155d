"""What each model scores, weighs and takes, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lathe.compress.candidate import Candidate, Splits
from lathe.core import stats
from lathe.core.measure import Speed, measure
from lathe.core.predictions import Prediction
from lathe.core.report import say
from lathe.core.stats import Score
from lathe.models.baselines import baseline
from lathe.tasks import AnyTask
from lathe.tasks.examples import Examples, evaluate


@dataclass(frozen=True)
class Measured:
    """One model, in figures."""

    candidate: Candidate
    predictions: Sequence[Prediction]
    scores: dict[str, float]
    speed: Speed

    def figures(self) -> dict[str, Any]:
        size = {"size_bytes": self.candidate.size_bytes}
        return self.scores | size | self.speed._asdict() | dict(self.candidate.notes)


def measure_candidate(candidate: Candidate) -> Measured:
    """Score and speed on this machine as it is now."""
    examples = candidate.splits[looked_at(candidate.splits)]
    predictions = candidate.predictor.predict(examples.encoded)
    scores = evaluate(candidate.predictor.task.metrics, golds_of(candidate, examples), predictions)
    return Measured(candidate, predictions, scores, measure(candidate.predictor, examples.rows))


def report(measured: Sequence[Measured]) -> tuple[dict[str, Any], Score]:
    """Scores for the manifest, and the change of the first metric from the first to the last model; said as a table."""
    first, last, splits = measured[0], measured[-1], measured[0].candidate.splits
    split = looked_at(splits)
    task, golds = first.candidate.predictor.task, golds_of(first.candidate, splits[split])
    metric = next(iter(task.metrics))
    change = stats.difference(task.metrics[metric], golds, first.predictions, last.predictions)
    simple = baseline_scores(task, splits.get("train"), splits[split])
    for line in table(metric, measured, simple):
        say(line)
    bounds = f"[{change.low:+.4f}, {change.high:+.4f}]"
    say(f"{split} {metric}, {last.candidate.name} against teacher: {change.value:+.4f} {bounds}")
    scores = {split: last.scores, f"{split}_teacher": first.scores} | ({f"{split}_baseline": simple} if simple else {})
    models = {one.candidate.name: one.figures() for one in measured}
    return scores | {"change": {"metric": metric, **change._asdict()}, "models": models}, change


def table(metric: str, measured: Sequence[Measured], simple: dict[str, float]) -> list[str]:
    """A line for each model."""
    lines = [f"{'model':<12}{metric:>12}{'MiB':>9}{'p50 ms':>9}{'p95 ms':>9}{'rows/s':>10}"]
    for one in measured:
        name, speed, mib = one.candidate.name, one.speed, one.candidate.size_bytes / 2**20
        times = f"{speed.p50_ms:>9.2f}{speed.p95_ms:>9.2f}{speed.rows_per_second:>10,.0f}"
        lines.append(f"{name:<12}{one.scores[metric]:>12.4f}{mib:>9.2f}{times}")
    return lines + ([f"{'baseline':<12}{simple[metric]:>12.4f}"] if simple else [])


def looked_at(splits: Splits) -> str:
    """The split that is measured on: ``test`` where there is one, since validation has selected the student."""
    return "test" if "test" in splits else "validation"


def baseline_scores(task: AnyTask, train: Examples | None, held_out: Examples) -> dict[str, float]:
    """The cheap baseline; empty where the training rows have no labels, or one only: there is nothing to fit."""
    if train is None or not is_labelled(train) or len({task.gold(row) for row in train.rows}) < 2:
        return {}
    predict = baseline(task, train.rows)
    return evaluate(task.metrics, [task.gold(row) for row in held_out.rows], predict(held_out.rows))


def golds_of(candidate: Candidate, examples: Examples) -> list[Any]:
    return [candidate.predictor.task.gold(row) for row in examples.rows]


def is_labelled(examples: Examples | None) -> bool:
    return examples is not None and bool({"label", "spans"} & examples.rows[0].keys())
