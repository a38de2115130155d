"""Drawings for pages: inline SVG from pure functions, labelled where the data is, every mark with a tooltip."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from lathe.core.html import Attributes, Html, element, join, scrolling

WIDTH, LETTER, LINE = 640.0, 7.7, 16.0  # of a drawing, of an average letter of its text, between two lines of it
COLOURS = 6
HEATS = 6
POINTS = 120  # of a smoothed curve


class Unit(NamedTuple):
    """How numbers are written."""

    factor: float = 1.0
    suffix: str = ""
    decimals: int | None = None  # of a value; three digits where not given


PLAIN, PERCENT = Unit(), Unit(100.0, " %", 1)


class Series(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]


class Reference(NamedTuple):
    """A level to compare with: a dashed line."""

    name: str
    y: float


class Point(NamedTuple):
    """A mark in a chart of curves."""

    x: float
    y: float
    tip: str
    name: str = ""  # stands beside it


class Bar(NamedTuple):
    """A value, and the bounds of its interval where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class Columns(NamedTuple):
    """A value for each of the names on an axis."""

    name: str
    values: Sequence[float]


class Bubble(NamedTuple):
    name: str
    x: float  # above 0
    y: float
    size: float  # drawn as area
    tip: str  # what the tooltip says


@dataclass(frozen=True)
class Scale:
    """Numbers of an axis -> places in a drawing."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, references: Sequence[Reference] = (), height: float = 340,
    points: Sequence[Point] = (),
) -> Html:  # fmt: skip
    """Several curves, each named at its last point; ``points`` have the colour of the first."""
    names = [*(s.name for s in series)]
    right = WIDTH - 14 - LETTER * max(map(len, names))
    levels = [y for s in series for _, y in s.points] + [r.y for r in references] + [point.y for point in points]
    xs = [x for s in series for x, _ in s.points] + [point.x for point in points]
    y = Scale(*padded(min(levels), max(levels)), height - 44, 26)
    x = Scale(min(0, *xs), max(xs) or 1.0, max(46, 8 + LETTER * max(len(words) for _, words in marks(y, PLAIN))), right)
    parts = [*x_axis(x, y, x_label), *y_axis(x, y, y_label)]
    for number, reference in enumerate(references):
        parts.append(colour(len(series) + number, *reference_line(reference, x, y)))
    places = apart([y(s.points[-1][1]) for s in series])
    for number, (one, place) in enumerate(zip(series, places, strict=True)):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in one.points)
        tip = f"{one.name}: {digits(one.points[0][1])} to {digits(one.points[-1][1])}"
        curve = element("polyline", {"class": "curve", "points": path}, title(tip))
        label = text(one.name, right + 8, place + 4, "label")
        parts.append(colour(number, curve, label))
    parts += [colour(0, *dot(point, x, y)) for point in points]
    return drawing(f"{y_label} against {x_label}: {', '.join(names)}", height, parts)


def interval_bars(bars: Sequence[Bar], label: str, unit: Unit = PLAIN) -> Html:
    """Horizontal bars from 0, each with its value, and with its interval where it has one."""
    left, right = 12 + LETTER * max(len(bar.name) for bar in bars), WIDTH - 64
    height = 34.0 * len(bars) + 46
    x = Scale(0, max(bar.value if bar.high is None else bar.high for bar in bars) or 1.0, left, right)
    parts = x_axis(x, Scale(0, 1, height - 40, 4), label, unit)
    for number, bar in enumerate(bars):
        middle = 22 + 34.0 * number
        mark, end, tip = [rectangle(left, middle - 10, x(bar.value) - left, 20)], bar.value, shown(bar.value, unit)
        if bar.low is not None and bar.high is not None:
            mark.append(whisker(x(bar.low), x(bar.high), middle))
            end = max(end, bar.high)
            tip += f", interval {shown(bar.low, unit)} to {shown(bar.high, unit)}"
        tip = f"{bar.name}: {tip}"
        parts += [
            text(bar.name, left - 8, middle + 4, "", "end"),
            colour(number if bar.high is not None else 0, focusable(tip, *mark, title(tip))),
            text(shown(bar.value, unit), x(end) + 8, middle + 4),
        ]
    return drawing(f"{label}: {', '.join(f'{bar.name} {shown(bar.value, unit)}' for bar in bars)}", height, parts)


def column_chart(
    names: Sequence[str], series: Sequence[Columns], x_label: str, y_label: str, unit: Unit = PLAIN, height: float = 300
) -> Html:
    """Upright bars from 0: at each name of the axis one of every series, side by side."""
    x = Scale(0, len(names), 58, WIDTH - 12)
    y = Scale(0, max(max(one.values) for one in series) or 1.0, height - 44, 44)
    parts = [*y_axis(x, y, y_label, unit), line(x.start, y.start, x.end, y.start, "axis")]
    parts.append(text(x_label, x.end, y.start + 36, "tick", "end"))
    every = 1 + int(LETTER * (max(map(len, names)) + 1) / (x(1) - x(0)))  # names that have room beside each other
    parts += [text(name, x(i + 0.5), y.start + 17, "tick", "middle") for i, name in enumerate(names) if i % every == 0]
    width = 0.84 * (x(1) - x(0)) / len(series)
    for number, one in enumerate(series):
        legend = x.end - LETTER * sum(len(s.name) + 3 for s in series[number:])
        marks = [rectangle(legend, 22, 10, 10), text(one.name, legend + 15, 31, "label")]
        for index, (name, value) in enumerate(zip(names, one.values, strict=True)):
            tip = f"{one.name}, {name}: {shown(value, unit)}"
            start = x(index + 0.08) + number * width
            marks.append(focusable(tip, rectangle(start, y(value), width, y.start - y(value)), title(tip)))
        parts.append(colour(number, *marks))
    return drawing(f"{y_label} by {x_label}: {', '.join(one.name for one in series)}", height, parts)


def bubble_chart(
    bubbles: Sequence[Bubble], x_label: str, y_label: str, unit: Unit = PLAIN, height: float = 380
) -> Html:
    """Points on a logarithmic x axis; the area tells the size, the name stands beside the point."""
    xs, ys = [b.x for b in bubbles], [b.y for b in bubbles]
    x = Scale(min(xs) / 1.8, max(xs) * 1.8, 58, WIDTH - 12, is_log=True)
    y = Scale(*padded(min(ys), max(ys), 0.18), height - 44, 26)
    parts = [*x_axis(x, y, x_label), *y_axis(x, y, y_label, unit)]
    largest = max(b.size for b in bubbles) or 1.0
    circles = [Circle(x(b.x), y(b.y), 4 + 22 * math.sqrt(b.size / largest)) for b in bubbles]
    labels = place_labels([b.name for b in bubbles], circles, height)
    for number in sorted(range(len(bubbles)), key=lambda i: -circles[i].radius):  # small ones on top
        bubble, circle = bubbles[number], circles[number]
        shape: Attributes = {"class": "area", "cx": circle.x, "cy": circle.y, "r": circle.radius}
        tip = f"{bubble.name}: {bubble.tip}"
        parts.append(colour(number, focusable(tip, element("circle", shape, title(tip)))))
    for number, (bubble, label) in enumerate(zip(bubbles, labels, strict=True)):
        parts.append(colour(number, text(bubble.name, label.left, label.top + 12, "label halo")))
    return drawing(f"{y_label} against {x_label}: {', '.join(b.name for b in bubbles)}", height, parts)


def heat_map(labels: Sequence[str], counts: Any) -> Html:
    """A confusion matrix as a table: gold labels down, predicted ones across; each row is shaded by its own share."""
    counts = np.asarray(counts)  # [C, C]
    head = [element("th", {"scope": "col"}, name) for name in ("true ↓ predicted →", *labels)]
    rows = []
    for name, row in zip(labels, counts.tolist(), strict=True):
        cells = [heat_cell(count, sum(row), name, other) for count, other in zip(row, labels, strict=True)]
        rows.append(element("tr", {}, element("th", {"scope": "row"}, name), *cells))
    table = element("table", {}, element("thead", {}, element("tr", {}, *head)), element("tbody", {}, *rows))
    return element("div", {"class": "heat"}, scrolling(table, "confusion matrix"))


def smooth(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """Means of consecutive points, at most ``most`` of them.

    >>> smooth([(1, 4.0), (2, 2.0), (3, 1.0), (4, 1.0)], 2)
    [(1.5, 3.0), (3.5, 1.0)]
    """
    size = -(-len(points) // most)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


# ---- pieces


class Circle(NamedTuple):
    x: float
    y: float
    radius: float


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def place_labels(names: Sequence[str], circles: Sequence[Circle], height: float) -> list[Box]:
    """A box for each name beside its circle, over no other name and no circle's middle where that is possible."""
    placed: list[Box] = []
    obstacles = [Box(c.x - 5, c.y - 5, c.x + 5, c.y + 5) for c in circles]
    frame = Box(50, 8, WIDTH - 4, height - 46)
    for name, circle in zip(names, circles, strict=True):
        choices = list(label_choices(LETTER * len(name), circle))
        costs = [cost(box, [*placed, *obstacles], frame) for box in choices]
        placed.append(choices[costs.index(min(costs))])
    return placed


def label_choices(width: float, circle: Circle) -> Iterator[Box]:
    """Places for a label, the best first: right, left, above, below, and the corners, then farther out."""
    for gap in (circle.radius + 5, circle.radius + 5 + LINE, circle.radius + 5 + 2 * LINE):
        near, slant = gap, 0.7 * gap
        for left, middle in (
            (circle.x + near, circle.y),
            (circle.x - near - width, circle.y),
            (circle.x - width / 2, circle.y - near - LINE / 2),
            (circle.x - width / 2, circle.y + near + LINE / 2),
            (circle.x + slant, circle.y - slant - LINE / 2),
            (circle.x + slant, circle.y + slant + LINE / 2),
            (circle.x - slant - width, circle.y - slant - LINE / 2),
            (circle.x - slant - width, circle.y + slant + LINE / 2),
        ):
            yield Box(left, middle - LINE / 2, left + width, middle + LINE / 2)


def cost(box: Box, taken: Sequence[Box], frame: Box) -> int:
    outside = box.left < frame.left or box.right > frame.right or box.top < frame.top or box.bottom > frame.bottom
    return sum(box.overlaps(other) for other in taken) + 3 * outside


def apart(places: Sequence[float], gap: float = LINE) -> list[float]:
    """The same places, moved no farther than needed for a distance of ``gap`` between any two.

    >>> apart([10.0, 12.0, 60.0])
    [3.0, 19.0, 60.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[tuple[list[int], float]] = []  # members from top to bottom, and their middle
    for index in order:
        members, middle = [index], places[index]
        while groups and middle - groups[-1][1] < gap * (len(groups[-1][0]) + len(members)) / 2:
            members = groups.pop()[0] + members
            middle = sum(places[i] for i in members) / len(members)
        groups.append((members, middle))
    moved = dict.fromkeys(order, 0.0)
    for members, middle in groups:
        for rank, index in enumerate(members):
            moved[index] = middle + gap * (rank - (len(members) - 1) / 2)
    return [moved[index] for index in range(len(places))]


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers between two bounds.

    >>> ticks(0, 970)
    [0.0, 200.0, 400.0, 600.0, 800.0]
    """
    rough = (high - low) / about or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [round(step * n, 10) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 of each decade between two bounds; only the powers of 10 where there are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 200 else (1,)
    return [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Bounds with some air; two equal ones are moved apart."""
    air = (high - low) * share or abs(high) * share or 1.0
    return low - air, high + air


def digits(value: float) -> str:
    """A number with the digits that a reader can use: three, and none after the point from 100 on.

    >>> [digits(v) for v in (0, 0.01234, 3.14159, 42.0, 1234.5)]
    ['0', '0.0123', '3.14', '42', '1,234']
    """
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    written = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def shown(value: float, unit: Unit) -> str:
    value *= unit.factor
    return (digits(value) if unit.decimals is None else f"{value:,.{unit.decimals}f}") + unit.suffix


def marks(scale: Scale, unit: Unit) -> list[tuple[float, str]]:
    """The ticks of an axis: value and text, all with the decimals that their distance needs."""
    if scale.is_log:
        return [(value, shown(value, unit)) for value in log_ticks(scale.low, scale.high)]
    at = ticks(scale.low, scale.high)
    step = (at[1] - at[0]) * unit.factor if len(at) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(value, f"{value * unit.factor:,.{decimals}f}{unit.suffix}") for value in at]


def x_axis(x: Scale, y: Scale, label: str, unit: Unit = PLAIN) -> list[Html]:
    parts = [text(label, x.end, y.start + 36, "tick", "end")]
    for value, words in marks(x, unit):
        parts += [
            line(x(value), y.start, x(value), y.end, "grid"),
            text(words, x(value), y.start + 17, "tick", "middle"),
        ]
    return [*parts, line(x.start, y.start, x.end, y.start, "axis")]


def y_axis(x: Scale, y: Scale, label: str, unit: Unit = PLAIN) -> list[Html]:
    parts = [text(label, 4, 13, "tick")]
    for value, words in marks(y, unit):
        parts += [
            line(x.start, y(value), x.end, y(value), "grid"),
            text(words, x.start - 7, y(value) + 4, "tick", "end"),
        ]
    return parts


def rectangle(x: float, y: float, width: float, height: float) -> Html:
    return element("rect", {"class": "bar", "x": x, "y": y, "width": max(width, 0.5), "height": height, "rx": 2})


def whisker(low: float, high: float, middle: float) -> Html:
    path = f"M{low:.1f} {middle - 5}v10M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 5}v10"
    return element("path", {"class": "whisker", "d": path})


def reference_line(reference: Reference, x: Scale, y: Scale) -> tuple[Html, Html]:
    label = text(f"{reference.name}: {digits(reference.y)}", x.end - 4, y(reference.y) - 6, "label halo", "end")
    return line(x.start, y(reference.y), x.end, y(reference.y), "dashed"), label


def dot(point: Point, x: Scale, y: Scale) -> tuple[Html, Html]:
    at: Attributes = {"class": "dot", "cx": x(point.x), "cy": y(point.y), "r": 4}
    name = text(point.name, x(point.x), y(point.y) - 9, "label halo", "middle")
    return focusable(point.tip, element("circle", at, title(point.tip))), name


def heat_cell(count: int, total: int, gold: str, predicted: str) -> Html:
    """Shade 0 stands only where there is nothing."""
    shade = math.ceil(HEATS * count / total) if count else 0
    tip = {"title": f"{gold} taken for {predicted}: {count} of {total}"}
    return element("td", {"class": f"h{shade}"}, element("span", tip, str(count) if count else "·"))


def colour(number: int, *parts: Html) -> Html:
    return element("g", {"class": f"c{number % COLOURS}"}, *parts)


def focusable(tip: str, *parts: Html) -> Html:
    return element("g", {"class": "mark", "tabindex": 0, "role": "img", "aria-label": tip}, *parts)


def title(words: str) -> Html:
    return element("title", {}, words)


def text(words: str, x: float, y: float, style: str = "", anchor: str = "start") -> Html:
    return element("text", {"x": x, "y": y, "class": style, "text-anchor": anchor}, words)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def drawing(label: str, height: float, parts: Sequence[Html]) -> Html:
    frame = {"viewBox": f"0 0 {WIDTH:.0f} {height:.0f}", "role": "group", "aria-label": label}
    return element("svg", frame, join(parts))
