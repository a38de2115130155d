"""The report of several tasks that were trained together: one page with the tasks beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lathe.core.card import kept
from lathe.core.charts import Point, Series, line_chart, smooth
from lathe.core.html import Column, Html, Section, figure, page, table
from lathe.finetune.report import SMOOTH, Run
from lathe.tasks.pages import arrow


def report_together(runs: Mapping[str, Run]) -> str:
    """A whole HTML document; each task has one of its own in its folder."""
    sections = [
        Section("What they reached", list(_reached(runs))),
        Section("Learning curves", list(_curves(runs))),
        Section("Turns", list(_turns(runs))),
    ]
    taken = next(iter(runs.values())).scores
    return page(f"Fine-tuning: {', '.join(runs)}", sections, f"One body, {len(runs)} heads. {kept(taken)}")


def _reached(runs: Mapping[str, Run]) -> Iterator[str]:
    columns = [Column("task"), Column("metric"), Column("rows")]
    columns += [Column(name, "end") for name in ("model", "95 % interval", "baseline")]
    rows = [[name, *line] for name, run in runs.items() for line in _scores(run)]
    yield table(columns, rows)
    yield "Intervals: percentile bootstrap over rows. The baseline is a cheap model that has learnt from the same rows."
    yield "Each task has a report of its own, by label and row, in its folder."


def _scores(run: Run) -> Iterator[list[str]]:
    judged: Mapping[str, Any] = run.scores[run.judged]
    for metric, value in judged.items():
        low, high = run.scores[f"{run.judged}_interval"][metric]
        baseline = run.scores[f"{run.judged}_baseline"][metric]
        yield [arrow(metric), run.judged, f"{value:.4f}", f"{low:.4f} to {high:.4f}", f"{baseline:.4f}"]


def _curves(runs: Mapping[str, Run]) -> Iterator[Html]:
    losses = [Series(name, smooth(run.curve("step", "loss"), SMOOTH)) for name, run in runs.items()]
    yield figure(line_chart(losses, "steps", "nats an item"), "Loss of the training steps of each task, smoothed.")
    for name, run in runs.items():
        best, found = run.scores["best_step"], run.curve("evaluation", run.metric)
        if len(found) > 1:
            marks = [Point(step, value, f"step {step:,}: {value:.4f}", "kept") for step, value in found if step == best]
            drawn = line_chart([Series(run.metric, found)], "steps", run.metric, points=marks)
            yield figure(drawn, f"{name}: {run.metric} of its validation rows; step {best:,} is kept.")


def _turns(runs: Mapping[str, Run]) -> Iterator[str]:
    columns = [Column("task"), Column("kind"), *(Column(name, "end") for name in ("rows", "steps", "of all", "passes"))]
    steps = {name: [line for line in run.log if line["event"] == "step"] for name, run in runs.items()}
    total = sum(map(len, steps.values()))
    yield table(columns, [[name, *_turn(run, steps[name], total)] for name, run in runs.items()])
    yield "The rows of a step are of one task, whose turn it is by chance: see train.temperature and weight."


def _turn(run: Run, steps: Sequence[Mapping[str, Any]], total: int) -> list[str]:
    rows, seen = len(run.splits["train"].source), sum(line["rows"] for line in steps)
    shares = (f"{len(steps):,}", f"{len(steps) / total:.1%}", f"{seen / rows:.1f}")
    return [run.findings.kind, f"{rows:,}", *shares]
