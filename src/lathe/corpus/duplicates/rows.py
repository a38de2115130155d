"""Rows of numbers on disk, sorted into parts that can be worked on one after another in bounded memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Parts:
    """Files of rows [R, width]; what has to be compared goes to one of them."""

    folder: Path
    name: str
    count: int
    width: int

    def add(self, rows: Rows, owners: Places) -> None:
        """Append each row to the part that ``owners`` names."""
        order = np.argsort(owners, kind="stable")
        ends = np.searchsorted(owners[order], np.arange(self.count + 1))
        for index in np.flatnonzero(np.diff(ends)).tolist():
            self.append(rows[order[ends[index] : ends[index + 1]]], index)

    def append(self, rows: Rows, index: int) -> None:
        """Append all rows to one part."""
        if len(rows):
            with self._file(index).open("ab") as stream:
                put(rows, stream)

    def read(self, index: int, most: int) -> Iterator[Rows]:
        """The rows of a part in the order in which they came, at most so many at a time."""
        if not self._file(index).is_file():
            return
        with self._file(index).open("rb") as stream:
            while len(numbers := np.fromfile(stream, np.uint64, max(most, 1) * self.width)):
                yield numbers.reshape(-1, self.width)

    def whole(self, index: int) -> Rows:
        """All rows of a part."""
        found = list(self.read(index, 2**20))
        return np.concatenate(found) if found else np.zeros((0, self.width), np.uint64)

    def remove(self) -> None:
        for index in range(self.count):
            self._file(index).unlink(missing_ok=True)

    def _file(self, index: int) -> Path:
        return self.folder / f"{self.name}-{index}"


def spread(values: np.ndarray[tuple[int], np.dtype[np.uint64]], parts: int) -> Places:
    """The part of each value: ranges of values, so that parts in their order are values in theirs."""
    return ((values >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)).astype(np.int64)


def put(numbers: np.ndarray[Any, Any], stream: BinaryIO) -> None:
    """Write numbers as they are in memory; an error has the system's number, which that of ``tofile`` lacks."""
    stream.write(np.ascontiguousarray(numbers).data)


def mapped(folder: Path, name: str, dtype: type, count: int) -> np.ndarray[Any, Any]:
    """``count`` zeros in a new file, which the system may write out when memory is short.

    Where the system can, the disk is asked for the room now, with an error if there is none: later that would end the
    process.
    """
    size = max(count, 1) * np.dtype(dtype).itemsize
    with (folder / name).open("wb") as stream:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.truncate(size)
    return np.asarray(np.memmap(folder / name, dtype, "r+"))[:count]
