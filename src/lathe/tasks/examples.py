"""Labelled rows on their way into a model: read, shown, checked, encoded, and scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lathe.core.bundle import DataUse
from lathe.core.data import Columns, Table, check_labels, describe, keys, labels, load, warnings
from lathe.core.errors import DataError, RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.report import say
from lathe.core.types import Encoded, Metric, Prediction
from lathe.tasks import AnyTask


@dataclass(frozen=True)
class Examples:
    """Labelled rows, as they were written and as the model sees them."""

    rows: Sequence[dict[str, Any]]
    encoded: Sequence[Encoded]
    keys: Seeds  # what the randomness of each row depends on

    def part(self, chosen: "np.ndarray[Any, np.dtype[np.bool_]]") -> "Examples":
        index = np.flatnonzero(chosen).tolist()
        return Examples([self.rows[i] for i in index], [self.encoded[i] for i in index], self.keys[index])


def read_tables(files: Mapping[str, Path | None], task: AnyTask, columns: Columns) -> dict[str, Table]:
    """Read every file that is given, and show what was found in it."""
    tables = {name: load(path, task.labelled, columns) for name, path in files.items() if path is not None}
    for table in tables.values():
        say(describe(table))
        for line in warnings(table):
            say(f"  {line}")
    return tables


def resolve(task: AnyTask, tables: Mapping[str, Table], longest: int) -> AnyTask:
    """The task with everything its recipe left open: labels in order, and the longest text.

    Raises ``DataError`` for a label that the training data or ``task.labels`` does not have, with file and line.
    """
    known = task.labels or tuple(sorted(labels(tables["train"])))
    for table in tables.values():
        check_labels(table, known)
    if len(known) < (2 if task.kind == "classify" else 1):
        raise DataError(f"{tables['train'].path}: the labels are {known}: there is nothing to tell apart")
    if task.max_length is not None and task.max_length > longest:
        raise RecipeError(f"task.max_length: {task.max_length} is more than this model takes ({longest})")
    return replace(task, labels=known, max_length=task.max_length or longest)


def encode(table: Table, task: AnyTask, tokenizer: Any) -> Examples:
    """Tokenize, and say how much did not fit."""
    encoded = task.encode(table.rows, tokenizer)
    cut_off, widened = (sum(row.get(name, 0) for row in encoded) for name in ("truncated", "widened"))
    if cut_off:
        rows = sum(1 for row in encoded if row["truncated"])
        say(f"{table.path}: {rows:,} rows are longer than {task.max_length} tokens; {cut_off:,} tokens are cut off")
    if widened:
        say(f"{table.path}: {widened:,} spans begin or end inside a word; widened for training, scored as given")
    return Examples(table.rows, encoded, keys(table))


def hold_out(examples: Examples, ratio: float) -> tuple[Examples, Examples]:
    """(the rest, the rows held out): chosen by key, the same for every seed; equal texts stay together."""
    key_of = dict(zip((row["text"] for row in examples.rows), examples.keys, strict=True))
    text_keys = np.array([key_of[row["text"]] for row in examples.rows], np.uint64)
    held = uniform(text_keys, "hold out", 1)[:, 0] < ratio
    if held.all() or not held.any():
        counted = f"{len(held)} training rows with {len(key_of)} different texts"
        raise DataError(f"{counted} cannot be parted at {ratio:.0%}; give data.validation")
    say(f"no data.validation: {held.sum():,} of {len(held):,} training rows are held out")
    return examples.part(~held), examples.part(held)


def evaluate(
    metrics: Mapping[str, Metric], golds: Sequence[Any], predictions: Sequence[Prediction]
) -> dict[str, float]:
    return {name: float(metric(golds, predictions)) for name, metric in metrics.items()}


def use_of(table: Table) -> DataUse:
    return DataUse(path=str(table.path), sha256=table.digest, kept=len(table.rows), quarantined=len(table.bad))
