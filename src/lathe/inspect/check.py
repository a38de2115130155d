"""Checking: a data file, or a recipe, looked at before anything is trained."""

from itertools import islice
from pathlib import Path

from lathe.core.data import (
    CHOICES,
    CONVERSED,
    LABELLED,
    MULTI_LABELLED,
    PAIRED,
    SCORED,
    TAGGED,
    TOKENS_OR_TEXT,
    Columns,
    Record,
    RowError,
    Shape,
    describe,
    find_columns,
    labels,
    load,
    read_row,
    read_rows,
    warnings,
)
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import Told
from lathe.inspect.recipes import check_recipe
from lathe.inspect.suspicions import lengths, look

_CANDIDATES = (
    TAGGED,
    CONVERSED,
    CHOICES,
    PAIRED,
    LABELLED,
    MULTI_LABELLED,
    SCORED,
    TOKENS_OR_TEXT,
)  # a labelled shape goes before an unlabelled one
HEAD_ROWS = 1000
SHOWN_BAD = 5


@recipe
class Data:
    file: Path
    """A file of rows, or a recipe (.toml)."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    against: Path | None = None
    """A second file: texts that stand in both are counted, such as test rows among the training rows."""


@recipe
class Recipe:
    data: Data
    """What to look at."""


def run(recipe: Recipe) -> Told:
    """Say what a file holds, and what looks wrong. Raises ``LatheError`` where it cannot be used."""
    if recipe.data.file.suffix == ".toml":
        return check_recipe(recipe.data.file)
    return check_data(recipe.data)


def check_data(data: Data) -> Told:
    """Rows, columns, labels, lengths, what is set aside, and what is suspicious."""
    shapes = shapes_of(data.file, data.columns)
    table = load(data.file, shapes, data.columns)
    other = load(data.against, shapes, data.columns) if data.against else None
    spread, found = lengths(table.rows), list(look(table, other))
    lines = [describe(table), *([describe(other)] if other else [])]
    lines.append("characters: " + ", ".join(f"{name} {value:,}" for name, value in spread.items()))
    lines += [f"! {line}" for line in warnings(table)]
    lines += [f"    {bad}" for bad in table.bad[1:SHOWN_BAD]]
    lines += [f"! {finding.text}" for finding in found]
    values = {
        "file": str(table.path),
        "sha256": table.digest,
        "rows": len(table.rows),
        "quarantined": len(table.bad),
        "columns": dict(table.columns),
        "unused_columns": dict(table.unused),
        "labels": dict(sorted(labels(table).items())),
        "characters": spread,
        "warnings": warnings(table),
        "suspicions": [finding._asdict() for finding in found],
    }
    return Told("\n".join(lines if found or table.bad else [*lines, "nothing suspicious"]), values)


def shapes_of(path: Path, columns: Columns) -> tuple[Shape, ...]:
    """What kind of rows a file holds: the labelled kind that most of its first rows fit, else the unlabelled one."""
    head = [record for record in islice(read_rows(path), HEAD_ROWS) if isinstance(record, Record)]
    fits = [_fitting(head, shapes, columns) for shapes in _CANDIDATES]
    best = max(range(len(fits) - 1), key=fits.__getitem__)
    return _CANDIDATES[best if fits[best] else -1]


def _fitting(head: list[Record], shapes: tuple[Shape, ...], columns: Columns) -> int:
    """How many of the rows can be read as one of ``shapes``."""
    names = list(dict.fromkeys(name for record in head for name in record.row))
    try:
        shape, found = find_columns(names, shapes, columns)
    except DataError:
        return 0
    return sum(_is_readable(record, shape, found) for record in head)


def _is_readable(record: Record, shape: Shape, columns: dict[str, str]) -> bool:
    try:
        read_row(record.row, shape, columns)
    except RowError:
        return False
    return True
