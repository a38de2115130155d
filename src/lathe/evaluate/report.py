"""The report of an evaluation: one page that stands alone."""

from collections.abc import Iterable, Sequence
from typing import Any

from lathe.core.charts import Bar, Unit, interval_bars
from lathe.core.html import Column, Html, Section, facts, figure, page, table
from lathe.core.metrics import METRICS
from lathe.core.stats import Score
from lathe.core.types import Row
from lathe.evaluate.result import Comparison, Evaluation, as_sent, mistakes
from lathe.tasks.pages import arrow, sections_of

SHOWN_CHARACTERS = 400


def report(evaluation: Evaluation, examples: int) -> str:
    """A whole HTML document; at most ``examples`` errors are shown."""
    first, found = next(iter(evaluation.scores.items()))
    lead = f"{first} {found} on {len(evaluation.rows):,} rows of {evaluation.data}."
    sections = [Section("Scores", _scores(evaluation)), Section("Size and speed", [_costs(evaluation)])]
    if evaluation.comparison:
        sections.append(
            Section(f"Against {evaluation.comparison.model}", _comparison(evaluation, evaluation.comparison))
        )
    sections += sections_of(evaluation)
    return page(
        f"Evaluation of {evaluation.model}", [*sections, Section("Errors", _errors(evaluation, examples))], lead
    )


def _scores(evaluation: Evaluation) -> list[str]:
    simple = "BM25" if evaluation.kind in ("embed", "rank") else "most frequent label"
    columns = [
        Column("metric"),
        *(Column(name, "end") for name in ("value", "95 % interval", simple)),
    ]
    rows = [
        [arrow(name), f"{found.value:.4f}", _interval(found), _number(evaluation.baseline.get(name))]
        for name, found in evaluation.scores.items()
    ]
    upward = {name: found for name, found in evaluation.scores.items() if found.low >= 0 and _is_better_higher(name)}
    bars = [Bar(name, *found) for name, found in upward.items()]
    drawn = [figure(interval_bars(bars, "score", Unit(decimals=3)), "Each score with its interval.")] if bars else []
    note = "Intervals: percentile bootstrap over rows."
    return [table(columns, rows), *drawn, note]


def _costs(evaluation: Evaluation) -> Html:
    speed = evaluation.speed
    return facts(
        [
            ("model", evaluation.model),
            ("digest", evaluation.digest),
            ("size of what it reads", f"{evaluation.size_bytes / 1e6:,.2f} MB"),
            ("one row, median", f"{speed.p50_ms:,.2f} ms"),
            ("one row, 95th percentile", f"{speed.p95_ms:,.2f} ms"),
            ("rows a second, in batches", f"{speed.rows_per_second:,.0f}"),
        ]
    )


def _comparison(evaluation: Evaluation, other: Comparison) -> list[str]:
    columns = [Column("metric"), Column("difference", "end"), Column("95 % interval, paired", "end")]
    rows = [[arrow(name), f"{d.value:+.4f}", f"{d.low:+.4f} to {d.high:+.4f}"] for name, d in other.differences.items()]
    ratio = f"{other.speed.p50_ms / max(evaluation.speed.p50_ms, 1e-9):.2f} times as fast for one row"
    size = f"{evaluation.size_bytes / max(other.size_bytes, 1):.2f} times its size"
    test = f"McNemar's exact test on rows that are wholly right: p = {other.mcnemar:.3g}."
    return [table(columns, rows), f"{test} This model is {ratio}, and has {size}."]


def _errors(evaluation: Evaluation, most: int) -> Sequence[str]:
    wrong = [
        [str(line), _shown(row, evaluation), said]
        for line, row, gold, prediction in evaluation.by_row()
        if (said := mistakes(gold, prediction))
    ]
    if not wrong:
        return ["None."]
    shown = (
        f"{len(wrong):,} of {len(evaluation.rows):,} rows are not wholly right; {min(most, len(wrong)):,} are shown."
    )
    return [shown, table([Column("line"), Column("text"), Column("predicted")], wrong[:most])]


def _shown(row: Row, evaluation: Evaluation) -> str:
    """What the model was asked."""
    told = (value if isinstance(value, str) else " ".join(map(str, value)) for value in _sent(row, evaluation))
    return " ∥ ".join(told)[:SHOWN_CHARACTERS]


def _sent(row: Row, evaluation: Evaluation) -> Iterable[Any]:
    return (row["text"],) if "tokens" in row else as_sent(row, evaluation.shapes).values()


def _is_better_higher(name: str) -> bool:
    return name not in METRICS or METRICS[name].higher_is_better


def _interval(found: Score) -> str:
    return f"{found.low:.4f} to {found.high:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
