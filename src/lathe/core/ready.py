"""A training run that is ready to begin: everything is known but its weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core import packing
from lathe.core.batches import Counts, Rows, StepBatches, batches, cut
from lathe.core.fit import PADDED_WINDOW, Course
from lathe.core.learn import Train

SEARCHED = 5000
"""Steps among which the largest micro-batch is sought."""


@dataclass(frozen=True)
class Evaluations:
    """What is measured between the steps of a run."""

    count: int  # in the whole run
    tokens: int  # that all of them read
    sample: Callable[[PreTrainedModel], int]  # evaluates some rows; returns their tokens


@dataclass(frozen=True)
class Ready:
    """What a stage has found out when all files are read, and how it makes the model."""

    auto_model: Any  # Hugging Face's class
    shape: PretrainedConfig
    build: Callable[[], PreTrainedModel]
    course: Course
    config: Train
    evaluations: Evaluations | None = None
    adapt: Callable[[PreTrainedModel], object] | None = None  # freezes some of a model or adds to it, as `build` does


class Steps:
    """All steps of a run that is ready: their tokens, and the ones that stand for the others."""

    def __init__(self, ready: Ready) -> None:
        course = ready.course
        self._ready, self._plan = ready, course.plan
        if packing.why_padded(ready.shape) is not None:
            self._plan = course.plan.gathered(PADDED_WINDOW)
        self.tokens: Counts = np.array([course.plan.lengths[rows].sum() for rows in self._rows(course.total)])

    @property
    def typical(self) -> int:
        """The number of the step with the median of tokens."""
        return int(np.argsort(self.tokens)[len(self.tokens) // 2])

    @cached_property
    def largest(self) -> int:
        """The number of the step whose largest micro-batch has the most positions, among the first `SEARCHED`."""
        searched = min(len(self.tokens), SEARCHED)
        return int(np.argmax([self._largest_micro_batch(rows) for rows in self._rows(searched)]))

    def at(self, number: int) -> StepBatches:
        ready, course = self._ready, self._ready.course
        size = ready.config.tokens_per_batch
        return next(batches(course.source, course.objective, course.symbols, self._plan, size, start=number))

    def _rows(self, count: int) -> Iterator[Rows]:
        return (rows for _, rows in islice(self._plan.steps(), count))

    def _largest_micro_batch(self, rows: Rows) -> int:
        lengths = np.sort(self._plan.lengths[rows])
        parts = cut(lengths, self._ready.config.tokens_per_batch)
        return max(int(lengths[part][-1]) * len(lengths[part]) for part in parts)


def evaluation_steps(total: int, every: int) -> int:
    """How often a run of ``total`` steps evaluates: every so many steps, and after the last.

    >>> evaluation_steps(10, 4), evaluation_steps(8, 4)
    (3, 2)
    """
    return -(-total // every)
