"""What makes a data file suspicious: repeated texts, contradictions, answers that the text gives away, shared rows."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lathe.core.data import Table

FEWEST_ROWS = 5  # of a label, below which nothing is concluded
LEAK_SHARE = 0.5  # of a label's rows that hold its name
LEAK_LIFT = 3.0  # times as often as the others'
EXAMPLES = 3


class Finding(NamedTuple):
    """One suspicion, for people and for programs."""

    kind: str
    rows: int  # or texts, or labels
    text: str


def look(table: Table, other: Table | None = None) -> Iterator[Finding]:
    """Everything suspicious about a file, and about its overlap with another."""
    lines = lines_of(table)
    yield from _duplicates(table, lines)
    yield from _contradictions(table, lines)
    yield from _rare_labels(table)
    yield from _leaks(table)
    if other is not None:
        yield from _overlap(table, lines, other)


def lengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Shortest, median, 95th percentile and longest text, in characters."""
    counts = np.array([len(_said(row)) for row in rows])
    names = {"shortest": 0, "median": 50, "p95": 95, "longest": 100}
    return {name: int(np.percentile(counts, percent)) for name, percent in names.items()}


def lines_of(table: Table) -> dict[str, list[int]]:
    """Text -> the positions of its rows; texts that differ in case, width or spaces only are one."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(table.rows):
        places[content(row)].append(position)
    return places


def content(row: Mapping[str, Any]) -> str:
    """What a row is about, as far as `same` tells it apart: its text, and what stands beside it."""
    beside = [row[name] for name in ("text_pair", "question") if name in row]
    return "\n".join(map(same, [_said(row), *beside, *row.get("choices", ())]))


def _said(row: Mapping[str, Any]) -> str:
    """The text of a row, or all turns of a conversation."""
    return "\n".join(turn.content for turn in row["messages"]) if "messages" in row else str(row["text"])


def same(text: str) -> str:
    """Equal for texts that a reader would call equal.

    >>> same("Ａ  Film ") == same("a film")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _duplicates(table: Table, places: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    repeated = [found for found in places.values() if len(found) > 1]
    extra = sum(len(found) - 1 for found in repeated)
    if extra:
        text = f"{extra:,} rows repeat an earlier text, such as {_lines(table, repeated[0])}"
        yield Finding("duplicates", extra, text)


def _contradictions(table: Table, places: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    """Equal texts with different answers: at most one of them is right."""
    groups = [found for found in places.values() if len({_answer(table.rows[i]) for i in found}) > 1]
    if groups:
        shown = "; ".join(f"{_lines(table, group)} {_answers(table, group)}" for group in groups[:EXAMPLES])
        yield Finding("contradictions", len(groups), f"{len(groups):,} texts have several answers: {shown}")


def _rare_labels(table: Table) -> Iterator[Finding]:
    counts = Counter(label for row in table.rows for label in _names(row))
    rare = sorted(label for label, count in counts.items() if count < FEWEST_ROWS)
    if rare:
        shown = ", ".join(f"{label!r} {counts[label]}" for label in rare[:EXAMPLES])
        yield Finding("rare labels", len(rare), f"{len(rare):,} labels have fewer than {FEWEST_ROWS} rows: {shown}")


def _leaks(table: Table) -> Iterator[Finding]:
    """Texts that hold the name of their label: a model would learn to read it off."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        for label in _names(row):
            texts[label].append(same(row["text"]))
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


def _overlap(table: Table, places: Mapping[str, Sequence[int]], other: Table) -> Iterator[Finding]:
    shared = [(i, places[key]) for i, row in enumerate(other.rows) if (key := content(row)) in places]
    if shared:
        line, first = other.lines[shared[0][0]], table.lines[shared[0][1][0]]
        text = f"{len(shared):,} of {len(other.rows):,} rows of {other.path.name} have a text of {table.path.name}"
        yield Finding("overlap", len(shared), f"{text}, such as line {line} (there line {first})")


def _names(row: Mapping[str, Any]) -> Sequence[str]:
    """The labels of the text; the right one of several choices is a place, not a label."""
    return [row["label"]] if isinstance(row.get("label"), str) else row.get("labels", ())


def _answer(row: Mapping[str, Any]) -> Any:
    return next((row[name] for name in ("label", "labels", "score", "spans") if name in row), None)


def _answers(table: Table, positions: Sequence[int]) -> str:
    if "label" not in table.rows[positions[0]]:
        return "(different answers)"
    return f"({', '.join(sorted({repr(table.rows[i]['label']) for i in positions}))})"


def _lines(table: Table, positions: Sequence[int]) -> str:
    return "lines " + ", ".join(str(table.lines[i]) for i in positions[:EXAMPLES])
