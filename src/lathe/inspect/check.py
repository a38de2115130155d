"""Checking: a data file, or a recipe, looked at before anything is trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lathe.core.data import Columns, Table, describe, keys, labels, load, warnings
from lathe.core.errors import RecipeError
from lathe.core.recipe import dump, recipe
from lathe.core.report import Told
from lathe.core.types import lengths_of, lessons_of
from lathe.inspect.kinds import Kind, kind_of
from lathe.inspect.recipes import check_recipe
from lathe.inspect.suspicions import Finding, balance, empty_answers, lengths, look
from lathe.inspect.view import drawn, views
from lathe.models.pretrained import longest_input
from lathe.tasks import AnyTask
from lathe.tasks.examples import arranged, encode, resolve
from lathe.tasks.origin import Origin

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
    task: AnyTask | None = None
    """What the rows are to mean: they are read as this task reads them. Found by their columns if not given."""
    base: Path | None = None
    """A model folder, of which tokenizer and configuration alone are opened: rows are shown as it would see them."""
    examples: int = Field(3, ge=0)
    """Rows that are shown as the model sees them."""


@dataclass(frozen=True)
class Looked:
    """A file, read, and what it is taken for."""

    kind: Kind
    table: Table
    other: Table | None
    task: AnyTask | None  # that was asked for, or fits


def run(recipe: Recipe) -> Told:
    """Say what a file holds, and what looks wrong. Raises ``LatheError`` where it cannot be used."""
    if recipe.data.file.suffix == ".toml":
        return check_recipe(recipe.data.file)
    looked = _read(recipe)
    found = [*_other_kind(recipe, looked), *look(looked.table, looked.other)]
    values = _values(looked) | {"suspicions": [finding._asdict() for finding in found]}
    lines = [*_lines(looked, values), *(f"! {finding.text}" for finding in found)]
    if not found and not looked.table.bad:
        lines.append("nothing suspicious")
    if recipe.base is not None or recipe.task is not None:
        seen, shown = _seen(recipe, looked)
        values, lines = values | seen, [*lines, *shown]
    return Told("\n".join(lines), values)


def _read(recipe: Recipe) -> Looked:
    data, task = recipe.data, recipe.task
    kind = kind_of(data.file, data.columns)
    shapes = kind.shapes if task is None else task.labelled
    table = load(data.file, shapes, data.columns)
    other = load(data.against, shapes, data.columns) if data.against else None
    return Looked(kind, table, other, task or next(iter(kind.tasks()), None))


def _other_kind(recipe: Recipe, looked: Looked) -> Iterator[Finding]:
    """A task can often read rows that are meant for another, and leave a part of them out."""
    fitting = [task.kind for task in looked.kind.tasks()]
    if recipe.task is not None and looked.kind.is_labelled and recipe.task.kind not in fitting:
        way = f", for {_options(fitting)}" if fitting else ""
        seen = f"the columns are those of the kind {looked.kind.name}{way}"
        text = f"{seen}; task.kind={recipe.task.kind} leaves a part of them out"
        yield Finding("kind", len(looked.table.rows), text)


def _values(looked: Looked) -> dict[str, Any]:
    table = looked.table
    return {
        "file": str(table.path),
        "sha256": table.digest,
        "kind": looked.kind.name,
        "tasks": [task.kind for task in looked.kind.tasks()],
        "rows": len(table.rows),
        "quarantined": len(table.bad),
        "columns": dict(table.columns),
        "unused_columns": dict(table.unused),
        "labels": dict(sorted(labels(table).items())),
        "rows_with_label": balance(table),
        "empty_answers": empty_answers(table),
        "characters": lengths(table),
        "warnings": warnings(table),
    }


def _lines(looked: Looked, values: Mapping[str, Any]) -> Iterator[str]:
    """What the rows are, one fact a line."""
    table = looked.table
    yield describe(table)
    if looked.other is not None:
        yield describe(looked.other)
    yield f"rows of the kind {looked.kind.name}" + (f"; for {_options(values['tasks'])}" if values["tasks"] else "")
    for name, spread in values["characters"].items():
        yield f"characters of {name}: {_spread(spread)}"
    for what, counts in values["rows_with_label"].items():
        (first, most), (last, least) = list(counts.items())[0], list(counts.items())[-1]
        if len(counts) > 1:
            shares = f"{first} in {most / len(table.rows):.1%} of the rows, {last} in {least / len(table.rows):.1%}"
            yield f"{what} labels, the commonest and the rarest: {shares}"
    for name, count in values["empty_answers"].items():
        yield f"{count:,} of {len(table.rows):,} rows have no {name}"
    yield from (f"! {line}" for line in values["warnings"])
    yield from (f"    {bad}" for bad in table.bad[1:SHOWN_BAD])


def _seen(recipe: Recipe, looked: Looked) -> tuple[dict[str, Any], list[str]]:
    """The rows as a task takes them, and with a base as its model would see them."""
    table, task = looked.table, looked.task
    if task is None:
        raise RecipeError(f"base: no task learns from rows of the kind {looked.kind.name}; say which: task.kind=...")
    tables = {"train": table} | ({} if looked.other is None else {"test": looked.other})
    tables = arranged(task, tables)
    table = tables["train"]
    if recipe.base is None:
        return {"task": dump(resolve(task, tables, task.max_length or 512))}, []
    tokenizer, config = Origin(recipe.base, None, None).read(task, tables)
    task = resolve(task, tables, longest_input(tokenizer, config))
    examples = encode(table, task, tokenizer)
    counts = lengths_of([piece for row in examples.encoded for piece in lessons_of(row)])
    spread = {name: int(np.percentile(counts, at)) for name, at in (("median", 50), ("p95", 95), ("longest", 100))}
    values = {
        "task": dump(task),
        "tokens": spread,
        "rows_in_windows": sum(len(row.get("windows", ())) > 1 for row in examples.encoded),
        "rows_cut_off": sum(row.get("truncated", 0) > 0 for row in examples.encoded),
        "tokens_cut_off": sum(row.get("truncated", 0) for row in examples.encoded),
    }
    shown = views(task, examples.encoded[: recipe.examples], keys(table), tokenizer)
    lines = [f"as task.kind={task.kind} and {recipe.base} see them: tokens {_spread(spread)}", *_cut(values, task)]
    lines += [line for view, at in zip(shown, table.lines, strict=False) for line in drawn(view, f"line {at}")]
    named = [{"line": at} | view for view, at in zip(shown, table.lines, strict=False)]
    return values | {"examples": named}, lines


def _cut(values: Mapping[str, Any], task: AnyTask) -> Iterator[str]:
    if values["rows_in_windows"]:
        yield f"{values['rows_in_windows']:,} rows are read in several windows of at most {task.max_length} tokens"
    if values["rows_cut_off"]:
        rows, tokens = values["rows_cut_off"], values["tokens_cut_off"]
        yield f"! {rows:,} rows are longer than {task.max_length} tokens; {tokens:,} tokens are cut off"


def _options(kinds: Sequence[str]) -> str:
    return " or ".join(f"task.kind={kind}" for kind in kinds)


def _spread(points: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in points.items())
