"""Which rows make a step, and how a step is cut: pure functions of lengths, seed and epoch."""

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from lathe.core.keyed import Seeds, permutation, row_seeds
from lathe.core.types import Batch, Encoded, Objective, Symbols

T = TypeVar("T")
Rows: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


class Source(Protocol):
    """Rows that can be asked for by number: encoded rows in memory, or a token file."""

    @property
    def lengths(self) -> Counts:
        """Tokens of each row.  [rows]"""

    @property
    def keys(self) -> Seeds:
        """What the randomness of each row depends on.  [rows]"""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Encoded: ...


@dataclass(frozen=True)
class EncodedRows:
    """A source of rows that fit in memory."""

    rows: Sequence[Encoded]
    keys: Seeds

    @property
    def lengths(self) -> Counts:
        return np.array([len(row["input_ids"]) for row in self.rows], np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Encoded:
        return self.rows[index]


@dataclass(frozen=True)
class StepSize:
    """How much one optimizer step sees: so many rows, or so many tokens."""

    amount: int
    unit: str = "rows"  # or "tokens"

    def weights(self, lengths: Counts) -> Counts:
        return lengths if self.unit == "tokens" else np.ones_like(lengths)


@dataclass(frozen=True)
class Plan:
    """All steps of a run, without its data: step n is a function of (lengths, size, seed, n)."""

    lengths: Counts
    size: StepSize
    seed: int
    window: int = 1  # steps among which rows are exchanged so that each step has rows of like length; 1: not sorted

    def epoch(self, epoch: int) -> list[Rows]:
        """The rows of each step of one epoch; every row is in exactly one step, the last step may be smaller."""
        order = permutation(len(self.lengths), "epoch", self.seed, epoch)
        weights = self.size.weights(self.lengths)
        if self.window > 1:
            windows = cut(weights[order], self.size.amount * self.window)
            order = np.concatenate([order[w][np.argsort(self.lengths[order[w]], kind="stable")] for w in windows])
        steps = [order[part] for part in cut(weights[order], self.size.amount)]
        if self.window > 1:
            steps = [steps[i] for i in permutation(len(steps), "steps", self.seed, epoch)]
        return steps

    def count(self, epochs: float) -> int:
        """Steps in so many epochs; a fraction of an epoch is rounded up to whole steps."""
        if self.size.unit == "rows":
            an_epoch = -(-len(self.lengths) // self.size.amount)
            return int(epochs) * an_epoch + int(np.ceil((epochs - int(epochs)) * an_epoch))
        whole = int(epochs)
        parts = sum(len(self.epoch(e)) for e in range(whole))
        return parts + (int(np.ceil((epochs - whole) * len(self.epoch(whole)))) if epochs > whole else 0)

    def steps(self, start: int = 0) -> Iterator[tuple[int, Rows]]:
        """(epoch, rows) of step ``start``, ``start`` + 1, ... without end."""
        epoch, before = 0, 0
        while True:
            steps = self.epoch(epoch)
            for number in range(max(start - before, 0), len(steps)):
                yield epoch, steps[number]
            epoch, before = epoch + 1, before + len(steps)


def cut(weights: Counts, capacity: int) -> list[slice]:
    """Consecutive slices whose weights sum to at most ``capacity``; a heavier item is a slice of its own.

    >>> cut(np.array([3, 3, 3, 9, 1]), 6)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    ends = np.cumsum(weights)
    slices, start = [], 0
    while start < len(weights):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + capacity, side="right")), start + 1)
        slices.append(slice(start, stop))
        start = stop
    return slices


@dataclass(frozen=True)
class StepBatches:
    """One optimizer step, made into tensors: micro-batches that together hold the step's rows."""

    epoch: int
    micro: tuple[Batch, ...]
    rows: Rows
    tokens: int


def batches(
    source: Source, objective: Objective, symbols: Symbols, plan: Plan, tokens_per_batch: int, start: int = 0
) -> Iterator[StepBatches]:
    """Steps from number ``start`` on. How a step is cut into micro-batches changes its speed and nothing else."""
    for epoch, rows in plan.steps(start):
        rows = rows[np.argsort(plan.lengths[rows], kind="stable")]
        micro = []
        for part in cut(plan.lengths[rows], tokens_per_batch):
            seeds = row_seeds(plan.seed, epoch, source.keys[rows[part]])
            micro.append(objective.collate([source[int(i)] for i in rows[part]], seeds, symbols))
        yield StepBatches(epoch, tuple(micro), rows, int(plan.lengths[rows].sum()))


def pad_rows(rows: Sequence[Encoded], symbols: Symbols) -> tuple[Rows, Rows]:
    """``input_ids`` and ``attention_mask`` of some rows, padded on the right to the longest.  2 x [B, T]"""
    lengths = np.array([len(row["input_ids"]) for row in rows])
    attention_mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    input_ids = np.full(attention_mask.shape, symbols.pad, np.int64)
    input_ids[attention_mask == 1] = np.concatenate([row["input_ids"] for row in rows])
    return input_ids, attention_mask


def ahead(items: Iterator[T], depth: int = 2) -> Generator[T, None, None]:
    """The same items, made by a thread of their own while the caller works on the ones before."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), daemon=True)
    thread.start()
    try:
        while (message := ready.get())[0] == "item":
            yield message[1]
        if message[0] == "error":
            raise message[1]
    finally:
        stop.set()
        while thread.is_alive():
            _drain(ready)
            thread.join(0.01)


def _produce(items: Iterator[Any], ready: "queue.Queue[tuple[str, Any]]", stop: threading.Event) -> None:
    try:
        for item in items:
            ready.put(("item", item))
            if stop.is_set():
                return
    except Exception as error:  # the edge of a thread: the consumer raises it
        ready.put(("error", error))
    else:
        ready.put(("end", None))


def _drain(ready: "queue.Queue[tuple[str, Any]]") -> None:
    while not ready.empty():
        ready.get_nowait()
