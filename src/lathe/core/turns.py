"""Several plans that take turns: every step is the next step of one of them, drawn by shares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any, TypeAlias

import numpy as np

from lathe.core.batches import Counts, Plan, Rows
from lathe.core.keyed import row_seeds, uniform

Shares: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

BLOCK = 1024
"""Steps that are drawn at a time."""


def shares(rows: Sequence[int], temperature: float, weights: Sequence[float]) -> Shares:
    """p_i = w_i N_i^(1/tau) / sum_j w_j N_j^(1/tau): Arivazhagan et al. (2019), Raffel et al. (2020).

    tau = 1 takes all rows equally often, a high one all sources.

    >>> shares([900, 100], 1, [1, 1]).tolist(), shares([900, 100], 2, [1, 1]).tolist()
    ([0.9, 0.1], [0.75, 0.25])
    """
    tempered = np.array(weights) * np.array(rows, np.float64) ** (1 / temperature)
    found: Shares = tempered / tempered.sum()
    return found


@dataclass(frozen=True)
class Turns:
    """All steps of a run over the rows of a joined source: whose turn step n is, is a function of (seed, n).

    A plan whose turn it is takes its next step, in epochs of its own.
    """

    plans: tuple[Plan, ...]
    shares: tuple[float, ...]  # of the steps

    @property
    def seed(self) -> int:
        return self.plans[0].seed

    @cached_property
    def lengths(self) -> Counts:
        return np.concatenate([plan.lengths for plan in self.plans])

    def gathered(self, window: int) -> "Turns":
        return replace(self, plans=tuple(plan.gathered(window) for plan in self.plans))

    def count(self, epochs: float) -> int:
        """Steps that so many passes over all rows take together."""
        return sum(plan.count(epochs) for plan in self.plans)

    def drawn(self, start: int, stop: int) -> Rows:
        """The number of the plan whose turn it is, in steps ``start`` to ``stop``.  [stop - start]"""
        numbers = np.arange(start, stop, dtype=np.uint64)
        chance = uniform(row_seeds(self.seed, 0, numbers), "turns", 1)[:, 0]
        ends = np.cumsum(self.shares)[:-1]  # the last takes the rest, whatever the sum is rounded to
        whose: Rows = np.searchsorted(ends, chance, side="right")
        return whose

    def steps(self, start: int = 0) -> Iterator[tuple[int, Rows]]:
        """(epoch of the plan whose turn it is, rows) of step ``start``, ``start`` + 1, ... without end."""
        taken = np.bincount(self.drawn(0, start), minlength=len(self.plans))
        going = [plan.steps(int(before)) for plan, before in zip(self.plans, taken, strict=True)]
        first = np.cumsum([0, *(len(plan.lengths) for plan in self.plans)])
        for block in count(start, BLOCK):
            for whose in self.drawn(block, block + BLOCK).tolist():
                epoch, rows = next(going[whose])
                yield epoch, rows + first[whose]
