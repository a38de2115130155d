"""Checking: a data file, or a recipe, looked at before anything is trained."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from lathe.core.bundle import Bundle, is_bundle
from lathe.core.data import (
    LABELLED,
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
from lathe.core.errors import DataError, LatheError, RecipeError, did_you_mean
from lathe.core.recipe import parse, read_toml, recipe
from lathe.core.report import Told
from lathe.inspect.suspicions import lengths, look
from lathe.models.pretrained import check_folder
from lathe.verbs import VERBS

_CANDIDATES = (TAGGED, LABELLED, TOKENS_OR_TEXT)  # a labelled shape goes before an unlabelled one
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


# --------------------------------------------------------------------------------------------------------------- data
def check_data(data: Data) -> Told:
    """Rows, columns, labels, lengths, what is set aside, and what is suspicious."""
    shapes = shapes_of(data.file, data.columns)
    table = load(data.file, shapes, data.columns)
    other = load(data.against, shapes, data.columns) if data.against else None
    spread, found = lengths(table.rows), list(look(table, other))
    lines = [describe(table), f"length in characters: {', '.join(f'{name} {value:,}' for name, value in spread.items())}"]
    lines += [describe(other)] if other else []
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
        "suspicions": [finding.values for finding in found],
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


# ------------------------------------------------------------------------------------------------------------- recipe
def check_recipe(path: Path) -> Told:
    """Parse a recipe as its verb would, and look whether everything it names is there; no model is loaded."""
    values = read_toml(path)
    verb = values.pop("verb", None)
    if verb is None:
        raise RecipeError(f'{path}: names no verb; begin it with a line like verb = "finetune"')
    if verb not in VERBS:
        raise RecipeError(f"{path}: {verb!r} is no verb of lathe{did_you_mean(str(verb), VERBS)}")
    try:
        parsed = parse(import_module(VERBS[verb].package).Recipe, values)
    except RecipeError as error:
        raise RecipeError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
    named = list(paths_of(parsed))
    problems = [problem for option, place in named if (problem := _problem(option, place))]
    if problems:
        raise RecipeError("\n".join(f"{path}: {problem}" for problem in problems))
    lines = [f"{path}: a recipe for `lathe {verb}`", *(f"  {option}: {place}" for option, place in named)]
    return Told("\n".join(lines), {"file": str(path), "verb": verb, "paths": {option: str(place) for option, place in named}})


def paths_of(value: Any, name: str = "") -> Iterator[tuple[str, Path]]:
    """Every file and folder that a recipe names, with the option that names it."""
    if isinstance(value, Path):
        yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from paths_of(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from paths_of(inner, name)


def _problem(option: str, place: Path) -> str:
    """What is wrong with a file or folder, or nothing."""
    if not place.exists():
        siblings = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        return f"{option}: {place}: no such file or folder{did_you_mean(place.name, siblings)}"
    try:
        if is_bundle(place):
            Bundle.open(place)
        elif (place / "config.json").is_file():
            check_folder(place)
    except LatheError as error:
        return f"{option}: {error}"
    return ""
