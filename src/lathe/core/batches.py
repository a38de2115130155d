"""Which rows make a step, and how a step is cut: pure functions of lengths, seed and epoch."""

import heapq
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, permutation, row_seeds
from lathe.core.parallel import Ranks
from lathe.core.types import Batch, Encoded, Objective, Symbols, lengths_of

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
        return lengths_of(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Encoded:
        return self.rows[index]


@dataclass(frozen=True)
class Joined:
    """The rows of several sources, one source behind the other."""

    sources: Sequence[Source]

    @cached_property
    def lengths(self) -> Counts:
        return np.concatenate([source.lengths for source in self.sources])

    @cached_property
    def keys(self) -> Seeds:
        return np.concatenate([source.keys for source in self.sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Encoded:
        source, own = self.where(index)
        return source[own]

    def where(self, index: int) -> tuple[Source, int]:
        """The source that has a row, and the row's number there."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.sources[number], index - int(self._ends[number - 1] if number else 0)

    @cached_property
    def _ends(self) -> Counts:
        return np.cumsum([len(source) for source in self.sources])


@dataclass(frozen=True)
class StepSize:
    """How much one optimizer step sees: so many rows, or so many tokens."""

    amount: int
    unit: str = "rows"  # or "tokens"

    def weights(self, lengths: Counts) -> Counts:
        return lengths if self.unit == "tokens" else np.ones_like(lengths)


@dataclass(frozen=True)
class Replay:
    """Old rows among new ones: those from number ``first`` on, ``count`` of them in each epoch.

    They take turns: none comes again before all the others have come.
    """

    first: int
    count: int

    def rows(self, total: int, seed: int, epoch: int) -> Rows:
        """The old rows of one epoch, where there are ``total`` rows.  [count]

        >>> [sorted(Replay(4, 2).rows(7, seed=0, epoch=epoch).tolist()) for epoch in range(3)]
        [[5, 6], [4, 6], [4, 5]]
        """
        old = total - self.first
        turns = np.arange(epoch * self.count, (epoch + 1) * self.count)
        rounds = [permutation(old, "replay", seed, n)[turns[turns // old == n] % old] for n in np.unique(turns // old)]
        rows: Rows = self.first + np.concatenate(rounds)
        return rows


@dataclass(frozen=True)
class Plan:
    """All steps of a run, without its data: step n is a function of (lengths, size, seed, n)."""

    lengths: Counts
    size: StepSize
    seed: int
    window: int = 1  # steps among which rows are exchanged so that each step has rows of like length; 1: not sorted
    replay: Replay | None = None

    def gathered(self, window: int) -> "Plan":
        """The same, with rows of like length gathered among so many steps."""
        return replace(self, window=window)

    def epoch(self, epoch: int) -> list[Rows]:
        """The rows of each step of one epoch; every new row is in exactly one step, the last step may be smaller."""
        order = self._order(epoch)
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
            rows = len(self.lengths) if self.replay is None else self.replay.first + self.replay.count
            an_epoch = -(-rows // self.size.amount)
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

    def _order(self, epoch: int) -> Rows:
        """The rows of an epoch, shuffled."""
        if self.replay is None:
            return permutation(len(self.lengths), "epoch", self.seed, epoch)
        old = self.replay.rows(len(self.lengths), self.seed, epoch)
        rows = np.concatenate([np.arange(self.replay.first), old])
        order: Rows = rows[permutation(len(rows), "epoch", self.seed, epoch)]
        return order


@dataclass(frozen=True)
class Stretch:
    """Part of a run: ``whole`` steps of ``plan`` from number ``start`` on, each cut into steps of ``size``."""

    plan: Plan
    start: int
    whole: int
    size: StepSize
    first: int = 0  # number of the plan's first row among the rows of all stretches

    def steps(self) -> Iterator[tuple[int, Rows]]:
        """Without end, so that the last one lasts as long as the run."""
        for epoch, rows in self.plan.steps(self.start):
            for part in self._parts(rows):
                yield epoch, rows[part] + self.first

    def count(self) -> int:
        """Steps that it has."""
        if self.size == self.plan.size:
            return self.whole
        return sum(len(self._parts(rows)) for _, rows in islice(self.plan.steps(self.start), self.whole))

    def _parts(self, rows: Rows) -> list[slice]:
        if self.size == self.plan.size:
            return [slice(None)]
        return cut(self.size.weights(self.plan.lengths[rows]), self.size.amount)


@dataclass(frozen=True)
class Phased:
    """A plan whose rows or steps grow: its stretches, one after the other, over the rows of a joined source."""

    lengths: Counts
    stretches: tuple[Stretch, ...]

    @property
    def seed(self) -> int:
        return self.stretches[-1].plan.seed

    def gathered(self, window: int) -> "Phased":
        return replace(self, stretches=tuple(replace(s, plan=s.plan.gathered(window)) for s in self.stretches))

    def count(self, epochs: float) -> int:
        """Steps in so many passes, as they are after the beginning."""
        return self.stretches[-1].plan.count(epochs)

    @cached_property
    def total(self) -> int:
        """Steps of all stretches."""
        return sum(stretch.count() for stretch in self.stretches)

    def steps(self, start: int = 0) -> Iterator[tuple[int, Rows]]:
        """(epoch, rows) of step ``start``, ``start`` + 1, ... without end."""
        *early, last = self.stretches
        return islice(chain(*(islice(s.steps(), s.count()) for s in early), last.steps()), start, None)


class AnyPlan(Protocol):
    """All steps of a run: step n is a function of what is frozen here and of n."""

    @property
    def lengths(self) -> Counts: ...
    @property
    def seed(self) -> int: ...
    def gathered(self, window: int) -> "AnyPlan": ...
    def count(self, epochs: float) -> int: ...
    def steps(self, start: int = 0) -> Iterator[tuple[int, Rows]]: ...


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


def deal(lengths: Counts, ranks: int) -> list[Rows]:
    """Which items each rank takes: the longest first, each to the rank with the fewest tokens so far.

    A rank is left without only where there are fewer items than ranks.

    >>> [share.tolist() for share in deal(np.array([2, 3, 4, 8]), 2)]
    [[3], [0, 1, 2]]
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    least = [(0, 0, rank) for rank in range(ranks)]  # (tokens, items, rank)
    for item in np.argsort(-lengths, kind="stable").tolist():
        tokens, items, rank = least[0]
        heapq.heapreplace(least, (tokens + int(lengths[item]), items + 1, rank))
        shares[rank].append(item)
    return [np.array(sorted(share), np.int64) for share in shares]


def refuse_sizes(lengths: Counts, size: StepSize, tokens_per_batch: int, ranks: int = 1) -> None:
    """Raises ``RecipeError`` where a row does not fit into a micro-batch, or a step has no row for some rank."""
    longest = int(lengths.max(initial=0))
    if longest > tokens_per_batch:
        raise RecipeError(
            f"train.tokens_per_batch: {tokens_per_batch} is less than the longest row has, {longest} tokens; raise it "
            f"to {longest} or more, or shorten the rows with max_length"
        )
    if ranks == 1:
        return
    if len(lengths) < ranks:
        raise RecipeError(f"data.train: has {len(lengths)} rows for {ranks} processes; start fewer")
    option, needed, why = (
        ("batch_size", ranks, f"{ranks} processes")
        if size.unit == "rows"
        else ("tokens_per_step", ranks * longest, f"{ranks} processes need for a row of up to {longest} tokens each")
    )
    if size.amount < needed:
        raise RecipeError(
            f"train.{option}: {size.amount} is less than {why}: one would have nothing to do; raise it to {needed} or "
            "more, or start fewer processes"
        )


@dataclass(frozen=True)
class StepBatches:
    """One optimizer step, made into tensors: micro-batches that together, over all ranks, hold the step's rows."""

    epoch: int
    micro: tuple[Batch, ...]  # those of one rank
    rows: Rows  # of the step
    tokens: int


def batches(
    source: Source,
    objective: Objective,
    symbols: Symbols,
    plan: AnyPlan,
    tokens_per_batch: int,
    start: int = 0,
    ranks: Ranks = Ranks(),  # noqa: B008 - a tuple
) -> Iterator[StepBatches]:
    """Steps from number ``start`` on, with the micro-batches of one rank.

    How a step is cut into micro-batches, and who takes them, changes its speed and nothing else.
    """
    for epoch, rows in plan.steps(start):
        rows = rows[np.argsort(plan.lengths[rows], kind="stable")]
        own = rows[deal(plan.lengths[rows], ranks.size)[ranks.rank]] if ranks.size > 1 else rows
        micro = []
        for part in cut(plan.lengths[own], tokens_per_batch):
            seeds = row_seeds(plan.seed, epoch, source.keys[own[part]])
            micro.append(objective.collate([source[int(i)] for i in own[part]], seeds, symbols))
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
