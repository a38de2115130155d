"""The report of a fine-tuning run: what it reached beside its baseline, how it went, and the rows it is made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lathe.core.card import kept
from lathe.core.charts import Point, Series, line_chart, smooth
from lathe.core.data import Table, shared
from lathe.core.data.alike import LEAST, alike
from lathe.core.html import Column, Section, bullets, facts, figure, page, table
from lathe.core.runtime import versions
from lathe.core.types import lengths_of, pieces_of
from lathe.tasks.examples import Examples
from lathe.tasks.findings import Findings
from lathe.tasks.pages import arrow, sections_of

NAME = "report.html"
SMOOTH = 40
"""Points of the curve of the training loss: few rows a step make it rough."""


@dataclass(frozen=True)
class Run:
    """What a run has read and left."""

    model: str  # family and parameters, in words
    adapted: str  # which weights were trained
    metric: str  # what has selected the model
    findings: Findings  # of the test rows, or of those of validation
    tables: Mapping[str, Table]
    splits: Mapping[str, Examples]
    noticed: Sequence[str]  # what was said of the rows
    scores: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]

    @property
    def judged(self) -> str:
        """The split that the findings are of."""
        return "test" if "test" in self.splits else "validation"

    def curve(self, event: str, name: str) -> list[tuple[float, float]]:
        """A value by step, of the lines that have it."""
        return [(line["step"], line[name]) for line in self.log if line["event"] == event and name in line]


def report(run: Run) -> str:
    """A whole HTML document."""
    sections = [Section("What it reached", list(_reached(run))), Section("Learning curves", list(_curves(run)))]
    sections += [Section(f"{one.heading}, {run.judged} rows", one.content) for one in sections_of(run.findings)]
    sections += [Section("Rows", list(_rows(run))), Section("The run", [_run(run)])]
    return page(f"Fine-tuning: {run.findings.kind}", sections, _lead(run))


def _lead(run: Run) -> str:
    metric, value = next(iter(run.scores[run.judged].items()))
    low, high = run.scores[f"{run.judged}_interval"][metric]
    baseline = run.scores[f"{run.judged}_baseline"][metric]
    reached = f"{metric} {value:.4f} ({low:.4f} to {high:.4f}) on {len(run.findings.golds):,} {run.judged} rows"
    return f"{reached}; the baseline has {baseline:.4f}. {kept(run.scores)}"


def _reached(run: Run) -> Iterator[str]:
    columns = [Column("metric"), Column("rows")]
    columns += [Column(name, "end") for name in ("model", "95 % interval", "baseline")]
    yield table(columns, [row for split in ("test", "validation") for row in _scores(run, split)])
    yield "Intervals: percentile bootstrap over rows. The baseline is a cheap model that has learnt from the same rows."
    if run.judged == "validation":
        yield "Validation rows have selected the model: on new rows expect less. Give data.test to know how much."


def _scores(run: Run, split: str) -> Iterator[list[str]]:
    for metric, value in run.scores.get(split, {}).items():
        low, high = run.scores[f"{split}_interval"][metric]
        baseline = run.scores[f"{split}_baseline"][metric]
        yield [arrow(metric), split, f"{value:.4f}", f"{low:.4f} to {high:.4f}", f"{baseline:.4f}"]


def _curves(run: Run) -> Iterator[str]:
    curves = [Series("training", smooth(run.curve("step", "loss"), SMOOTH))]
    held_out = run.curve("evaluation", "loss")
    curves += [Series("validation", held_out)] if len(held_out) > 1 else []
    yield figure(line_chart(curves, "steps", "nats an item"), "Loss, that of training smoothed.")
    best, found = run.scores["best_step"], run.curve("evaluation", run.metric)
    if len(found) > 1:
        marks = [Point(step, value, f"step {step:,}: {value:.4f}", "best") for step, value in found if step == best]
        drawn = line_chart([Series(run.metric, found)], "steps", run.metric, points=marks)
        yield figure(drawn, f"What selects the model: step {best:,} has the {run.scores['selected_by']}.")


def _rows(run: Run) -> Iterator[str]:
    names = ("rows", "set aside", "tokens, median", "95 %", "longest", "in windows", "cut off")
    columns = [Column("split"), Column("file"), *(Column(name, "end") for name in names)]
    yield table(columns, [_split(run, name) for name in ("train", "validation", "test") if name in run.splits])
    yield "Tokens of whole rows, windows added up; rows read in windows, and rows of which something is cut off."
    columns = [Column("of these rows"), *(Column(name, "end") for name in ("ask what training rows ask", "nearly"))]
    yield table(columns, [_leaks(run, name) for name in ("validation", "test") if name in run.splits])
    yield (
        "Over rows that were learnt a score is too good. Texts that differ in case, width or spaces only are the same; "
        f"nearly: {LEAST:.0%} of all their runs of three words, in Chinese of three characters, are in both."
    )
    if run.noticed:
        yield bullets(run.noticed)


def _leaks(run: Run, name: str) -> list[str]:
    train, others = run.splits["train"].rows, run.splits[name].rows
    equal = {place for place, _ in shared(train, others)}
    near = alike(train, others, [place for place in range(len(others)) if place not in equal])
    return [name, *(f"{count:,} ({count / len(others):.1%})" for count in (len(equal), len(near)))]


def _split(run: Run, name: str) -> list[str]:
    examples, read = run.splits[name], run.tables.get(name)
    lengths = np.array([lengths_of(pieces_of(row)).sum() for row in examples.encoded])
    middle, most = (f"{np.quantile(lengths, share):,.0f}" for share in (0.5, 0.95))
    windows, cut_off = (sum(1 for row in examples.encoded if row.get(key)) for key in ("windows", "truncated"))
    file, bad = (read.path.name, f"{len(read.bad):,}") if read else ("held out of the training rows", "")
    return [
        name,
        file,
        f"{len(examples.rows):,}",
        bad,
        middle,
        most,
        f"{lengths.max():,}",
        f"{windows:,}",
        f"{cut_off:,}",
    ]


def _run(run: Run) -> str:
    steps = [line for line in run.log if line["event"] == "step"]
    seconds = sum(line["seconds"] for line in steps)
    rates = [f"{sum(line[unit] for line in steps) / max(seconds, 1e-9):,.0f} {unit}/s" for unit in ("rows", "tokens")]
    epochs = max((line["epoch"] + 1 for line in steps), default=0)
    told = [
        ("model", run.model),
        ("adapted", run.adapted),
        ("steps", f"{len(steps):,}, into epoch {epochs:,}"),
        ("time of steps", f"{seconds:,.1f} s, {', '.join(rates)}"),
    ]
    return facts([*told, *versions().items()])
