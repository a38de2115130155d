"""What kind of rows a file holds, told by the names of its columns and by what stands in them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, get_args

from lathe.core.data import (
    ANSWERED,
    CHOICES,
    CHOOSABLE,
    CONVERSED,
    ENTITIES,
    EVENTED,
    HISTORY,
    INTENT_SLOTS,
    INTERACTED,
    LABELLED,
    MULTI_LABELLED,
    PAIR,
    PAIRED,
    PROMPT,
    QUESTION,
    RELATED,
    RETRIEVED,
    SCORED,
    SCORED_PAIR,
    SOURCE,
    TAGGED,
    TOKENS_OR_TEXT,
    TOOK,
    TRANSFORMED,
    Columns,
    Record,
    RowError,
    Shape,
    find_columns,
    read_row,
    read_rows,
)
from lathe.core.errors import DataError
from lathe.tasks import AnyTask

HEAD_ROWS = 1000
_ANY_LABEL = {"label", "labels", "target"}  # columns that say of themselves only that they hold the answer

Cast: TypeAlias = dict[str, str]  # role -> column


class Reading(NamedTuple):
    """The first rows of a file, those that can be read as one kind."""

    rows: Sequence[dict[str, Any]]
    columns: Cast
    by_name: bool  # no column plays its part for want of another

    def named(self, role: str) -> str:
        return _folded(self.columns[role])

    def values(self, role: str) -> list[Any]:
        return [row[role] for row in self.rows]


class Kind(NamedTuple):
    """Rows of a kind, and what tells them from others whose columns have the same names."""

    name: str
    shapes: tuple[Shape, ...]
    is_told: Callable[[Reading], bool] | None = None
    is_labelled: bool = True

    def tasks(self) -> list[Any]:
        """The tasks that learn from such rows."""
        members = [member() for member in get_args(get_args(AnyTask)[0])]
        return [task for task in members if any(shape in task.labelled for shape in self.shapes)]


# ---------------------------------------------------------------------------------------------------------- what tells
def _some(role: str) -> Callable[[Reading], bool]:
    """Something is marked in some row: files of annotations have columns for what they do not hold."""
    return lambda reading: any(reading.values(role))


def _marks(reading: Reading) -> bool:
    """Without any span, a column of a common name may as well be meant for other answers."""
    return "tokens" in reading.columns or any(reading.values("spans")) or reading.named("spans") not in _ANY_LABEL


def _searches(reading: Reading) -> bool:
    named = reading.named("positive").startswith("pos") or reading.named("query") == "anchor"
    return named or "negatives" in reading.columns


def _several(reading: Reading) -> bool:
    """Texts with one label each are read as such, also where it stands in a list."""
    counts, column = {len(labels) for labels in reading.values("labels")}, reading.named("labels")
    if column not in _SURE_LABELS:
        return max(counts) > 0
    return max(counts) > 1 or (column == "labels" and counts == {0, 1})


def _names(reading: Reading) -> bool:
    """Labels come again, and are no measurements."""
    found = reading.values("label")
    if any(map(_is_fraction, found)) and all(map(_is_number, found)):
        return False
    return reading.named("label") in _SURE_LABELS or len(set(found)) <= max(2, len(found) // 2)


def _measures(reading: Reading) -> bool:
    return reading.named("score") not in _ANY_LABEL or any(score % 1 for score in reading.values("score"))


def _is_number(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _is_fraction(text: str) -> bool:
    return _is_number(text) and float(text) % 1 > 0


def _folded(column: str) -> str:
    return column.strip().casefold()


_SURE_LABELS = {alias for role in (*LABELLED[0].roles, *PAIRED[0].roles) if role.name == "label"
                for alias in role.aliases} - {"target", "answer", "quality"}  # fmt: skip

_CONVERSED, _EVENTED = Kind("CONVERSED", CONVERSED), Kind("EVENTED", EVENTED, _some("events"))
_RELATED, _TAGGED = Kind("RELATED", RELATED, _some("relations")), Kind("TAGGED", TAGGED, _marks)
_PAIRED, _LABELLED = Kind("PAIRED", PAIRED, _names), Kind("LABELLED", LABELLED, _names)
_SCORED, _TEXT = Kind("SCORED", (*SCORED_PAIR, *SCORED), _measures), Kind("TEXT", TOKENS_OR_TEXT, is_labelled=False)

BY_NAME = (
    _CONVERSED,
    _EVENTED,
    _RELATED,
    Kind("INTENT_SLOTS", INTENT_SLOTS),
    _TAGGED,
    Kind("CHOICES", CHOICES),
    Kind("ANSWERED", ANSWERED),
    Kind("HISTORY", HISTORY),
    Kind("INTERACTED", INTERACTED),
    Kind("RETRIEVED", RETRIEVED, _searches),
    _PAIRED,
    Kind("MULTI_LABELLED", MULTI_LABELLED, _several),
    _LABELLED,
    _SCORED,
    Kind("TRANSFORMED", TRANSFORMED),
)
"""Rows with answers, those with most parts first: a file of relations could be read as one of spans, or of texts."""

OTHERS = (
    _PAIRED,
    Kind("CHOOSABLE", CHOOSABLE, is_labelled=False),
    Kind("ENTITIES", ENTITIES, is_labelled=False),
    Kind("QUESTION", QUESTION, is_labelled=False),
    Kind("PAIR", PAIR, is_labelled=False),
    _LABELLED,
    _SCORED,
    _TAGGED,
    Kind("TOOK", TOOK, is_labelled=False),
    _TEXT,
    Kind("PROMPT", PROMPT, is_labelled=False),
    Kind("SOURCE", SOURCE, is_labelled=False),
)
"""Where names tell no answer: an answer in the one column that is left, or rows without one."""


def kind_of(path: Path, columns: Columns) -> Kind:
    """The first kind, in the order above, that reads at least half as many rows as the one that reads most."""
    head = [record for record in islice(read_rows(path), HEAD_ROWS) if isinstance(record, Record)]
    by_name = [(kind, one) for kind in BY_NAME if (one := _read(head, kind.shapes, columns)).by_name]
    if (found := _first(by_name)) is not None:
        return found
    others = [(kind, _read(head, kind.shapes, columns)) for kind in OTHERS]
    return _first([(kind, one) for kind, one in others if one.by_name or kind.is_labelled]) or _TEXT


def _first(readings: Iterable[tuple[Kind, Reading]]) -> Kind | None:
    """Rows with answers go before rows without, even where few have one."""
    told = [(kind, one) for kind, one in readings if one.rows and (kind.is_told is None or kind.is_told(one))]
    most = max(((kind.is_labelled, len(one.rows)) for kind, one in told), default=(False, 0))[1]
    return next((kind for kind, one in told if 2 * len(one.rows) >= most), None)


def _read(head: Sequence[Record], shapes: Sequence[Shape], columns: Columns) -> Reading:
    names = list(dict.fromkeys(name for record in head for name in record.row))
    try:
        shape, found = find_columns(names, shapes, columns)
    except DataError:
        return Reading([], {}, False)
    aliases = {role.name: role.aliases for role in shape.roles}
    by_name = all(_folded(name) in aliases[role] or getattr(columns, role) == name for role, name in found.items())
    return Reading([row for record in head if (row := _row(record, shape, found)) is not None], found, by_name)


def _row(record: Record, shape: Shape, columns: Cast) -> dict[str, Any] | None:
    try:
        return read_row(record.row, shape, columns)[0]
    except RowError:
        return None
