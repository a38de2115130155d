"""From a forward pass to a function of rows: what evaluation, explanation, robustness and serving share."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lathe.core.calibration import Calibration, Sure, refuse_unscored
from lathe.core.data import Columns, RowError, Shape, find_columns, read_row
from lathe.core.errors import DataError, RecipeError
from lathe.core.predictions import Prediction
from lathe.core.types import Encoded, Forward, Row, Symbols, as_row, lengths_of, pieces_of


@runtime_checkable
class AsksAgain(Protocol):
    """A task with a second question to a row, about what was found by the first."""

    def asked_again(self, answer: Any, row: Encoded) -> Encoded | None:
        """The second question, whose answer is the row's; None where the first has answered all."""


@dataclass(frozen=True)
class TaskPredictor:
    """Rows in, predictions out, in the same order; a row's prediction does not depend on the rows beside it.

    May be called from several threads: a tokenizer may not, so it is used under a lock.
    """

    task: Any  # a Task with its labels
    tokenizer: Any
    forward: Forward
    tokens_per_batch: int = 8192  # padded tokens of one forward pass
    calibration: Calibration | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __call__(self, rows: Sequence[Row | str]) -> list[Prediction]:
        """Raises ``DataError`` naming the first row (0-based) that cannot be read."""
        return self.predict(self.encode(rows))

    @cached_property
    def confident(self) -> "Confident":
        """The same, with how likely each answer is right. Raises ``RecipeError`` where that is not known."""
        refuse_unscored(self.task.kind)
        if self.calibration is None:
            raise RecipeError(
                "confidence: the bundle holds no calibration; make it again with `lathe finetune` or `lathe compress` "
                "of this version and at least 20 validation rows, or take its scores, which are not calibrated"
            )
        return Confident(self, self.calibration)

    def encode(self, rows: Sequence[Row | str]) -> list[Encoded]:
        """Rows as the model reads them. Raises ``DataError`` as above."""
        if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Sequence):
            raise DataError(f"give a list of rows, not {type(rows).__name__}: model([...])")
        with self._lock:
            encoded: list[Encoded] = self.task.encode(list(read_rows_like(rows, self.task.unlabelled)), self.tokenizer)
        return encoded

    def sizes(self, encoded: Sequence[Encoded]) -> list[int]:
        """Tokens of each row, in all its pieces."""
        return [int(lengths_of(pieces_of(row)).sum()) for row in encoded]

    def predict(self, encoded: Sequence[Encoded]) -> list[Prediction]:
        """Predictions for rows that are encoded already."""
        answers = self._answered(encoded)
        if isinstance(self.task, AsksAgain):
            again = map(self.task.asked_again, answers, encoded)
            further = {number: row for number, row in enumerate(again) if row is not None}
            for number, answer in zip(further, self._answered([*further.values()]), strict=True):
                answers[number] = answer
        return answers

    def _answered(self, encoded: Sequence[Encoded]) -> list[Any]:
        """What the task makes of the answers to all pieces of each row."""
        answers = iter(self._decoded([piece for row in encoded for piece in pieces_of(row)]))
        return [
            self.task.merge(list(islice(answers, len(row["windows"]))), row) if "windows" in row else next(answers)
            for row in encoded
        ]

    def _decoded(self, pieces: Sequence[Encoded]) -> list[Any]:
        """What the task makes of the model's outputs for each piece."""
        symbols = Symbols.of(self.tokenizer)
        lengths = lengths_of(pieces)
        order = np.argsort(-lengths, kind="stable")
        answers: list[Any] = [None] * len(pieces)
        for part in _rectangles(lengths[order], self.tokens_per_batch):
            chosen = [pieces[i] for i in order[part]]
            batch = self.task.collate(chosen, np.zeros(len(chosen), np.uint64), symbols)
            outputs = self.forward(batch.inputs)
            for i, answer in zip(order[part], self.task.decode(outputs, chosen, self.tokenizer), strict=True):
                answers[i] = answer
        return answers


@dataclass(frozen=True)
class Confident:
    """A predictor whose answers come with the probability that they are right."""

    predictor: TaskPredictor
    calibration: Calibration

    @property
    def task(self) -> Any:
        return self.predictor.task

    @property
    def tokenizer(self) -> Any:
        return self.predictor.tokenizer

    def __call__(self, rows: Sequence[Row | str]) -> list[Sure]:
        return self.predict(self.encode(rows))

    def encode(self, rows: Sequence[Row | str]) -> list[Encoded]:
        return self.predictor.encode(rows)

    def sizes(self, encoded: Sequence[Encoded]) -> list[int]:
        return self.predictor.sizes(encoded)

    def predict(self, encoded: Sequence[Encoded]) -> list[Sure]:
        return [Sure(one, self.calibration(one)) for one in self.predictor.predict(encoded)]


def read_rows_like(rows: Sequence[Row | str], shapes: Sequence[Shape]) -> Iterator[dict[str, Any]]:
    """User's rows under the names a task knows; columns are found by name, once for each set of names."""
    known: dict[tuple[str, ...], tuple[Shape, Mapping[str, str]]] = {}
    for number, row in enumerate(map(as_row, rows)):
        if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
            raise DataError(f"row {number}: is {type(row).__name__}, not a text or a mapping of column names to values")
        names = tuple(row)
        try:
            if names not in known:
                known[names] = find_columns(names, shapes, Columns())
            yield read_row(row, *known[names])[0]
        except RowError as error:
            raise DataError(f"row {number}: {error.field}: {error.reason}; {error.fix}") from None
        except DataError as error:
            raise DataError(f"row {number}: {error}") from None


def _rectangles(lengths: "np.ndarray[Any, np.dtype[np.int64]]", capacity: int) -> Iterator[slice]:
    """Slices of falling lengths whose padded size (rows x longest) stays below ``capacity``."""
    start = 0
    while start < len(lengths):
        rows = max(1, capacity // int(lengths[start]))
        yield slice(start, start + rows)
        start += rows
