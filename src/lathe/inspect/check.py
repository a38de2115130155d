"""Checking: a data file, or a recipe, looked at before anything is trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lathe.core.data import Columns, Table, describe, labels, load, warnings
from lathe.core.recipe import recipe
from lathe.core.report import Told
from lathe.inspect.kinds import Kind, kind_of
from lathe.inspect.recipes import check_recipe
from lathe.inspect.suspicions import balance, empty_answers, lengths, look

SHOWN_BAD = 5


@recipe
class Data:
    file: Path
    """A file of rows, or a recipe (.toml)."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    against: Path | None = None
    """A second file: rows that ask the same, or nearly, are counted, such as test rows among the training rows."""


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
    """Kind of rows, columns, labels, lengths, what is set aside, and what is suspicious."""
    kind = kind_of(data.file, data.columns)
    table = load(data.file, kind.shapes, data.columns)
    other = load(data.against, kind.shapes, data.columns) if data.against else None
    found, tasks = list(look(table, other)), [task.kind for task in kind.tasks()]
    values: dict[str, Any] = {"file": str(table.path), "sha256": table.digest, "kind": kind.name, "tasks": tasks}
    values |= {
        "rows": len(table.rows),
        "quarantined": len(table.bad),
        "columns": dict(table.columns),
        "unused_columns": dict(table.unused),
        "labels": dict(sorted(labels(table).items())),
        "rows_with_label": balance(table),
        "empty_answers": empty_answers(table),
        "characters": lengths(table),
        "warnings": warnings(table),
        "suspicions": [finding._asdict() for finding in found],
    }
    lines = [describe(table), *([describe(other)] if other else []), *_facts(kind, tasks, table, values)]
    lines += [f"! {line}" for line in warnings(table)]
    lines += [f"    {bad}" for bad in table.bad[1:SHOWN_BAD]]
    lines += [f"! {finding.text}" for finding in found]
    return Told("\n".join(lines if found or table.bad else [*lines, "nothing suspicious"]), values)


def _facts(kind: Kind, tasks: list[str], table: Table, values: Mapping[str, Any]) -> Iterator[str]:
    """What the rows are, one fact a line."""
    way = f"; for {' or '.join(f'task.kind={name}' for name in tasks)}" if tasks else ""
    yield f"rows of the kind {kind.name}{way}"
    for name, spread in values["characters"].items():
        yield f"characters of {name}: " + ", ".join(f"{point} {value:,}" for point, value in spread.items())
    for what, counts in values["rows_with_label"].items():
        (first, most), (last, least) = list(counts.items())[0], list(counts.items())[-1]
        if len(counts) > 1:
            shares = f"{first} in {most / len(table.rows):.1%} of the rows, {last} in {least / len(table.rows):.1%}"
            yield f"{what} labels, the commonest and the rarest: {shares}"
    for name, count in values["empty_answers"].items():
        yield f"{count:,} of {len(table.rows):,} rows have no {name}"
