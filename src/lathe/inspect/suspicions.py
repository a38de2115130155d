"""What makes a data file suspicious: repeated rows, contradictions, answers that the text gives away, shared rows."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lathe.core.data import Table, about, answered, labels_of, same, shared, texts_in, wording
from lathe.core.data.alike import alike

FEWEST_ROWS = 5  # of a label, below which nothing is concluded
LEAK_SHARE = 0.5  # of a label's rows that hold its name
LEAK_LIFT = 3.0  # times as often as the others'
EXAMPLES = 3

_ONE_OF_MANY = {"positives", "item"}  # answers that say nothing against another one

Places = Mapping[tuple[str, ...], Sequence[int]]
"""What rows are about -> their positions."""


class Finding(NamedTuple):
    """One suspicion, for people and for programs."""

    kind: str
    rows: int  # or texts, or labels
    text: str


def look(table: Table, other: Table | None = None) -> Iterator[Finding]:
    """Everything suspicious about a file, and about its overlap with another."""
    places = places_of(table)
    yield from _duplicates(table, places)
    yield from _contradictions(table, places)
    yield from _empty(table)
    yield from _rare_labels(table)
    yield from _leaks(table)
    if other is not None:
        yield from _overlap(table, other)


def lengths(table: Table) -> dict[str, dict[str, int]]:
    """Shortest, median, 95th percentile and longest text of each column, in characters."""
    counts: defaultdict[str, list[int]] = defaultdict(list)
    for row in table.rows:
        for name, texts in texts_in(row).items():
            counts[name] += map(len, texts)
    percents = {"shortest": 0, "median": 50, "p95": 95, "longest": 100}
    return {
        name: {point: int(np.percentile(found, percent)) for point, percent in percents.items()}
        for name, found in counts.items()
        if found
    }


def balance(table: Table) -> dict[str, dict[str, int]]:
    """Rows that have each label, the commonest first; by what it is a label of."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in table.rows:
        for kind, label in set(labels_of(row)):
            found[kind][label] += 1
    return {kind: dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))) for kind, counts in found.items()}


def places_of(table: Table) -> dict[tuple[str, ...], list[int]]:
    places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, row in enumerate(table.rows):
        places[about(row)].append(position)
    return places


def _duplicates(table: Table, places: Places) -> Iterator[Finding]:
    """Rows that ask what an earlier one asks; where a question has many right answers, and answer it alike."""
    repeated = [found for found in places.values() if len(found) > 1]
    if _ONE_OF_MANY & answered(table.rows[0]).keys():
        repeated = [group for found in repeated for group in _by_answer(table, found).values() if len(group) > 1]
    extra = sum(len(found) - 1 for found in repeated)
    if extra:
        text = f"{extra:,} rows repeat an earlier one, such as {_lines(table, repeated[0])}"
        yield Finding("duplicates", extra, text)


def _contradictions(table: Table, places: Places) -> Iterator[Finding]:
    """Rows that ask the same and answer differently: at most one of them is right."""
    if _ONE_OF_MANY & answered(table.rows[0]).keys():
        return
    groups = [found for found in places.values() if len(found) > 1 and len(_by_answer(table, found)) > 1]
    if groups:
        shown = "; ".join(f"{_lines(table, group)} {_answers(table, group)}" for group in groups[:EXAMPLES])
        yield Finding("contradictions", len(groups), f"{len(groups):,} texts have several answers: {shown}")


def _by_answer(table: Table, positions: Sequence[int]) -> dict[Any, list[int]]:
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for position in positions:
        groups[tuple(answered(table.rows[position]).items())].append(position)
    return groups


def empty_answers(table: Table) -> dict[str, int]:
    """Rows without any span, label, relation, event or answer, by what they could have."""
    empty = Counter(name for row in table.rows for name, value in answered(row).items() if value == frozenset())
    return dict(empty)


def _empty(table: Table) -> Iterator[Finding]:
    for name, count in empty_answers(table).items():
        if count == len(table.rows):
            yield Finding("empty answers", count, f"{name}: empty in all {count:,} rows: there is nothing to learn")


def _rare_labels(table: Table) -> Iterator[Finding]:
    for kind, counts in balance(table).items():
        rare = {label: count for label, count in sorted(counts.items()) if count < FEWEST_ROWS}
        if rare:
            shown = ", ".join(f"{label!r} {count}" for label, count in list(rare.items())[:EXAMPLES])
            what = "labels" if kind == "text" else f"{kind} labels"
            text = f"{len(rare):,} {what} have fewer than {FEWEST_ROWS} rows: {shown}"
            yield Finding("rare labels", len(rare), text)


def _leaks(table: Table) -> Iterator[Finding]:
    """Texts that hold the name of their label: a model would learn to read it off."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        if isinstance(row.get("label"), str):
            texts[row["label"]].append(wording(row))
    for label, own in sorted(texts.items()):
        name = same(label)
        if len(own) < FEWEST_ROWS or len(name) < 2:
            continue
        here = sum(name in text for text in own)
        others = len(table.rows) - len(own)
        there = sum(name in text for other in texts if other != label for text in texts[other])
        if here >= LEAK_SHARE * len(own) and here / len(own) >= LEAK_LIFT * there / max(others, 1):
            share = f"{here / len(own):.0%} of its texts and in {there / max(others, 1):.0%} of the others"
            text = f"the name of label {label!r} stands in {share}: is the answer given away?"
            yield Finding("label in text", here, text)


def _overlap(table: Table, other: Table) -> Iterator[Finding]:
    """Rows of two files that ask the same, or nearly."""
    equal = shared(table.rows, other.rows)
    known = {place for place, _ in equal}
    near = alike(table.rows, other.rows, [place for place in range(len(other.rows)) if place not in known])
    for kind, found, verb in (("overlap", equal, "ask what"), ("near overlap", near, "ask nearly what")):
        if found:
            place, first = found[0]
            text = f"{len(found):,} of {len(other.rows):,} rows of {other.path.name} {verb} a row of {table.path.name}"
            example = f"such as line {other.lines[place]} (there line {table.lines[first]})"
            yield Finding(kind, len(found), f"{text} does, {example}")


def _answers(table: Table, positions: Sequence[int]) -> str:
    if not isinstance(table.rows[positions[0]].get("label"), str):
        return "(different answers)"
    return f"({', '.join(sorted({repr(table.rows[i]['label']) for i in positions}))})"


def _lines(table: Table, positions: Sequence[int]) -> str:
    return "lines " + ", ".join(str(table.lines[i]) for i in positions[:EXAMPLES])
