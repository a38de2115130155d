"""Labelled rows on their way into a model: read, shown, checked, encoded, and scored."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, Self, cast, runtime_checkable

import numpy as np

from lathe.core.batches import EncodedRows
from lathe.core.bundle import DataUse
from lathe.core.data import COLLECTION, Columns, Table, check_labels, describe, keys, load, same, shared, warnings
from lathe.core.errors import DataError, RecipeError
from lathe.core.keyed import Seeds, mix, uniform
from lathe.core.predictions import Prediction
from lathe.core.predictor import TaskPredictor
from lathe.core.report import say
from lathe.core.search import Collection, placed
from lathe.core.types import Encoded, Metric, lessons_of
from lathe.tasks import AnyTask
from lathe.tasks.retrieval import Searches

_PARTLY_LEARNT = {
    "widened": "spans begin or end inside a word; widened for training",
    "overlapping": "spans overlap others, and a word has one tag; not learnt",
    "apart": "spans or pairs of spans do not fit into a window with their marks; neither learnt nor found",
}
"""What rows count, by its key, and what becomes of it."""


@runtime_checkable
class Fitted(Protocol):
    """A task that takes something over from its training rows."""

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """The task, knowing it; the other files have to go with ``train``."""


@dataclass(frozen=True)
class Examples:
    """Labelled rows, as they were written and as the model sees them."""

    rows: Sequence[dict[str, Any]]
    encoded: Sequence[Encoded]
    keys: Seeds  # what the randomness of each row depends on
    collection: Collection | None = None  # what the rows search

    @property
    def source(self) -> EncodedRows:
        """What training steps are made of: each row, or each window or lesson of one, with a key of its own."""
        pieces = [lessons_of(row) for row in self.encoded]
        counts = [len(lessons) for lessons in pieces]
        number = np.array([n for count in counts for n in range(count)], np.uint64)  # of each piece in its row
        keys = np.repeat(self.keys, counts)
        return EncodedRows([*chain.from_iterable(pieces)], np.where(number == 0, keys, mix(keys + number)))

    def part(self, chosen: "np.ndarray[Any, np.dtype[np.bool_]]") -> "Examples":
        index = np.flatnonzero(chosen).tolist()
        rows, encoded = [self.rows[i] for i in index], [self.encoded[i] for i in index]
        return Examples(rows, encoded, self.keys[index], self.collection)


@runtime_checkable
class Arranges(Protocol):
    """A task whose rows are not those of its files."""

    def arranged(self, tables: Mapping[str, Table]) -> dict[str, Table]:
        """The rows that it learns and answers. Raises ``DataError``."""


def arranged(task: AnyTask, tables: Mapping[str, Table]) -> dict[str, Table]:
    return task.arranged(tables) if isinstance(task, Arranges) else dict(tables)


def read_tables(files: Mapping[str, Path | None], task: AnyTask, columns: Columns) -> dict[str, Table]:
    """Read every file that is given, and show what was found in it."""
    tables = {name: load(path, task.labelled, columns) for name, path in files.items() if path is not None}
    for table in tables.values():
        say(describe(table))
        for line in warnings(table):
            say(f"  {line}")
    tables = arranged(task, tables)
    for name, table in tables.items():
        if name != "train" and "train" in tables:
            _tell_shared(tables["train"], table)
    return tables


def _tell_shared(train: Table, table: Table) -> None:
    """Rows from which a score is taken, and that ask what a training row asks: they tell nothing of new ones."""
    found = shared(train.rows, table.rows)
    if not found:
        say(f"  {table.path.name}: no row asks what a row of {train.path.name} asks")
    else:
        place, first = found[0]
        count = (
            f"{table.path.name}: {len(found):,} of {len(table.rows):,} rows ask what a row of {train.path.name} asks"
        )
        example = f"line {table.lines[place]} what line {train.lines[first]} asks there"
        say(f"  {count}, such as {example}; a score over rows that were learnt is too good")


def read_collection(path: Path | None, task: AnyTask, tables: dict[str, Table]) -> Collection | None:
    """What is searched, where a file of it is given; ids in ``tables`` become the texts that they name."""
    if path is None:
        return None
    if not isinstance(task, Searches):
        raise RecipeError(f"data.collection: a task of the kind {task.kind} searches nothing; leave it out")
    collection = Collection.of_file(load(path, COLLECTION))
    for name, table in tables.items():
        if "query" in table.rows[0]:
            tables[name] = replace(table, rows=placed(table, collection))
    return collection


def searched(task: AnyTask, table: Table, given: Collection | None) -> Collection | None:
    """What the rows of a file search: what is given, or the texts that stand in them; none where they do not search."""
    return given or (task.collection(table) if isinstance(task, Searches) else None)


def resolve(task: AnyTask, tables: Mapping[str, Table], longest: int) -> AnyTask:
    """The task with everything its recipe left open: labels in order, the longest text, what its rows are like.

    Raises ``DataError`` for a label that the training data or ``task.labels`` does not have, with file and line.
    """
    if task.max_length is not None and task.max_length > longest:
        raise RecipeError(f"task.max_length: {task.max_length} is more than this model takes ({longest})")
    task = _with_labels(replace(task, max_length=task.max_length or longest), tables)
    return task.fitted(tables) if isinstance(task, Fitted) else task


def _with_labels(task: AnyTask, tables: Mapping[str, Table]) -> AnyTask:
    if task.least_labels == 0:
        return task
    named = {label for row in tables["train"].rows for label in task.labels_in(row)}
    known = task.labels or tuple(sorted(named))
    for table in tables.values():
        check_labels(table, known, task.labels_in)
    if len(known) < task.least_labels:
        raise DataError(f"{tables['train'].path}: the labels are {known}: there is nothing to tell apart")
    named_task: AnyTask = replace(cast(Any, task), labels=known)
    return named_task


def encode(table: Table, task: AnyTask, tokenizer: Any, collection: Collection | None = None) -> Examples:
    """Tokenize, and say how much did not fit, and what is searched: the texts of the rows, where nothing is given."""
    encoded = task.encode(table.rows, tokenizer)
    cut_off = sum(row.get("truncated", 0) for row in encoded)
    windowed = [len(row["windows"]) for row in encoded if len(row.get("windows", ())) > 1]
    if windowed:
        say(f"{table.path}: {len(windowed):,} rows are read in {sum(windowed):,} windows of {task.max_length} tokens")
    lessons = [len(row["lessons"]) for row in encoded if len(row.get("lessons", ())) > 1]
    if lessons:
        say(f"{table.path}: {len(lessons):,} rows are learnt as {sum(lessons):,}: with each target, or part by part")
    if cut_off:
        rows = sum(1 for row in encoded if row.get("truncated"))
        say(f"{table.path}: {rows:,} rows are longer than {task.max_length} tokens; {cut_off:,} tokens are cut off")
    for name, what in _PARTLY_LEARNT.items():
        if count := sum(row.get(name, 0) for row in encoded):
            say(f"{table.path}: {count:,} {what}, scored as given")
    collection = searched(task, table, collection)
    if collection is not None:
        say(f"{table.path}: rankings are of all {len(collection):,} texts {collection.source}")
    return Examples(table.rows, encoded, keys(table), collection)


def hold_out(examples: Examples, task: AnyTask, ratio: float) -> tuple[Examples, Examples]:
    """(the rest, the rows held out): chosen by key, the same for every seed.

    Rows of a group stay together, also where their texts differ in case, width or spaces only.
    Where each row has one label, the share is that of each label, and at least one group: with two groups it stands in
    both parts.
    """
    groups = [same(task.group(row)) for row in examples.rows]
    key_of = dict(zip(groups, examples.keys, strict=True))
    chance = uniform(np.array([*key_of.values()], np.uint64), "hold out", 1)[:, 0]
    of_group = dict(zip(key_of, chance.tolist(), strict=True))
    labels = [tuple(task.labels_in(row)) for row in examples.rows]
    if all(len(found) == 1 for found in labels):
        chosen = _of_each_label(of_group, dict(zip(groups, labels, strict=True)), ratio)
    else:
        chosen = {group for group, drawn in of_group.items() if drawn < ratio}
    held = np.array([group in chosen for group in groups])
    if held.all() or not held.any():
        counted = f"{len(held)} training rows about {len(key_of)} different texts"
        raise DataError(f"{counted} cannot be parted at {ratio:.0%}; give data.validation")
    say(f"no data.validation: {held.sum():,} of {len(held):,} training rows are held out, equal ones together")
    return examples.part(~held), examples.part(held)


def _of_each_label(of_group: Mapping[str, float], label_of: Mapping[str, Any], ratio: float) -> set[str]:
    """The groups with the lowest draws of each label; a group that has several goes with its last."""
    members: defaultdict[Any, list[str]] = defaultdict(list)
    for group in sorted(of_group, key=of_group.__getitem__):
        members[label_of[group]].append(group)
    counts = {label: min(max(1, round(ratio * len(found))), len(found) - 1) for label, found in members.items()}
    return {group for label, found in members.items() for group in found[: counts[label]]}


def answers_to(predictor: TaskPredictor, examples: Examples) -> Sequence[Prediction]:
    """What a model says of labelled rows: of rows that search, what it finds among all there is."""
    if examples.collection is None:
        return predictor.predict(examples.encoded)
    found: Sequence[Prediction] = predictor.task.search(examples.rows, examples.collection, predictor)
    return found


def simple_answers(simple: Any, examples: Examples) -> Sequence[Prediction]:
    """The same of a baseline."""
    collection, rows = examples.collection, examples.rows
    found: Sequence[Prediction] = simple(rows) if collection is None else simple.search(rows, collection)
    return found


def evaluate(
    metrics: Mapping[str, Metric], golds: Sequence[Any], predictions: Sequence[Prediction]
) -> dict[str, float]:
    return {name: float(metric(golds, predictions)) for name, metric in metrics.items()}


def use_of(table: Table) -> DataUse:
    return DataUse(path=str(table.path), sha256=table.digest, kept=len(table.rows), quarantined=len(table.bad))
