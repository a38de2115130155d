"""Parts of a page about a model's answers, for the reports of fine-tuning and of evaluation."""

from collections.abc import Iterator, Sequence

from lathe.core.charts import Point, Series, heat_map, line_chart
from lathe.core.html import Column, Html, Section, figure, table
from lathe.core.metrics import METRICS, brier, ece
from lathe.tasks.findings import Bin, Findings

MOST_LABELS = 40
"""Of a confusion matrix that can be read."""
MOST_CONFUSIONS = 20
MOST_POINTS = 500


def sections_of(found: Findings) -> Iterator[Section]:
    """What the answers of this kind of task can show; nothing for a kind that has none of it."""
    if by_label := found.by_label:
        columns = [Column("label"), *(Column(name, "end") for name in ("precision", "recall", "F1", "rows or spans"))]
        rows = [
            [label, f"{r.precision:.3f}", f"{r.recall:.3f}", f"{r.f1:.3f}", f"{r.support:,}"]
            for label, r in by_label.items()
        ]
        yield Section("By label", [table(columns, rows)])
    if (counts := found.confusion) is not None:
        yield Section("Confusion", list(_confusion(found.labels, counts)))
    if found.calibration is not None and found.decided is not None:
        scores = f"ECE {ece(*found.decided):.4f}, Brier {brier(*found.decided):.4f}; of both, lower is better."
        yield Section("Calibration", [scores, *_calibration(found.calibration)])
    if found.kind == "score":
        yield Section("Predicted against wanted", [_numbers(found)])


def arrow(metric: str) -> str:
    """The name with the direction that is better."""
    return f"{metric} {'↑' if metric not in METRICS or METRICS[metric].higher_is_better else '↓'}"


def _confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Iterator[str]:
    if len(labels) <= MOST_LABELS:
        yield heat_map(labels, counts)
        return
    pairs = [
        (count, wanted, given)
        for wanted, row in zip(labels, counts, strict=True)
        for given, count in zip(labels, row, strict=True)
        if count and given != wanted
    ]
    most = sorted(pairs, key=lambda pair: -pair[0])[:MOST_CONFUSIONS]
    yield f"The most frequent of {len(pairs):,} confusions among {len(labels):,} labels." if pairs else "None."
    if most:
        columns = [Column("label"), Column("taken for"), Column("rows", "end")]
        yield table(columns, [[wanted, given, f"{count:,}"] for count, wanted, given in most])


def _calibration(bins: Sequence[Bin]) -> Iterator[str]:
    points = [(one.confidence, one.accuracy) for one in bins]
    marks = [Point(*point, f"{one.rows:,} rows: {_told(one)}") for point, one in zip(points, bins, strict=True)]
    curves = [Series("this model", points), Series("calibrated", [(0.0, 0.0), (1.0, 1.0)])]
    drawn = line_chart(curves, "said to be sure", "right", points=marks)
    yield figure(drawn, "How often an answer is right that says it is so sure. Below the straight line: too sure.")
    columns = [Column("said to be sure"), *(Column(name, "end") for name in ("rows", "mean", "right"))]
    rows = [[f"{b.low:.0%} to {b.high:.0%}", f"{b.rows:,}", f"{b.confidence:.1%}", f"{b.accuracy:.1%}"] for b in bins]
    yield table(columns, rows)


def _told(one: Bin) -> str:
    return f"{one.confidence:.1%} sure, {one.accuracy:.1%} right"


def _numbers(found: Findings) -> Html:
    step = -(-len(found.golds) // MOST_POINTS)
    pairs = [(float(gold), one.value) for gold, one in zip(found.golds, found.predictions, strict=True)][::step]
    marks = [Point(*pair, f"{pair[1]:.4g} for {pair[0]:.4g}") for pair in pairs]
    low, high = min(gold for gold, _ in pairs), max(gold for gold, _ in pairs)
    drawn = line_chart([Series("exact", [(low, low), (high, high)])], "wanted", "predicted", points=marks)
    of = f"{len(pairs):,} of {len(found.golds):,} rows" if step > 1 else f"{len(pairs):,} rows"
    return figure(drawn, f"Each point is a row; {of}.")
