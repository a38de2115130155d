"""Shingle sets of chosen documents on disk, made from their texts when they are needed, and kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from lathe.core.report import progress
from lathe.core.types import Document
from lathe.corpus.duplicates.minhash import Booleans, shared
from lathe.corpus.duplicates.rows import Places, mapped
from lathe.corpus.duplicates.shingles import CHUNK, Counts, Hashes, shingles


class Texts(Protocol):
    """Some documents on disk: a shard, or a split of an earlier corpus."""

    @property
    def count(self) -> int: ...

    def documents(self) -> Iterator[Document]: ...


@dataclass(frozen=True)
class Sets:
    """Sorted shingles without repeats of documents, by place."""

    file: Path
    starts: Counts  # [N] in the file
    sizes: Counts  # [N] 0 where there is none yet

    @classmethod
    def empty(cls, folder: Path, count: int) -> Self:
        (folder / "sets").touch()
        return cls(folder / "sets", *(mapped(folder, name, np.int64, count) for name in ("set-starts", "set-sizes")))

    def make(self, texts: Sequence[Texts], wanted: Booleans) -> None:
        """Those of the documents that are wanted, in one pass over the texts.  [N]"""
        first, at = 0, self.file.stat().st_size // 8
        with self.file.open("ab") as stream, progress("near duplicates: comparing", len(wanted), "documents") as meter:
            for some in texts:
                places = first + np.flatnonzero(wanted[first : first + some.count])
                chosen = (document for document, is_wanted in self._with(some, wanted, first) if is_wanted)
                for run, place in _aligned(_runs(chosen) if len(places) else (), places):
                    sets = _sets(run)
                    np.concatenate(sets).tofile(stream)
                    self.sizes[place] = sizes = np.array([len(values) for values in sets])
                    self.starts[place] = at + np.cumsum(sizes) - sizes
                    at += int(sizes.sum())
                first += some.count
                meter.advance(some.count)

    def similarities(self, pairs: Places) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Jaccard similarity |A and B| / |A or B| of each pair of documents.  [P, 2] -> [P]"""
        values = np.memmap(self.file, np.uint64, "r")
        both = shared(np.asarray(values), self.starts, self.sizes, np.ascontiguousarray(pairs))
        found: np.ndarray[tuple[int], np.dtype[np.float64]] = both / (self.sizes[pairs].sum(1) - both)
        return found

    @staticmethod
    def _with(some: Texts, wanted: Booleans, first: int) -> Iterator[tuple[Document, bool]]:
        return zip(some.documents(), wanted[first : first + some.count].tolist(), strict=True)


def _aligned(runs: Iterable[list[str]], places: Places) -> Iterator[tuple[list[str], Places]]:
    start = 0
    for run in runs:
        yield run, places[start : start + len(run)]
        start += len(run)


def _runs(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Texts of some ``CHUNK`` characters at a time."""
    run, size = list[str](), 0
    for document in documents:
        run.append(document.text)
        size += len(document.text)
        if size >= CHUNK:
            yield run
            run, size = [], 0
    if run:
        yield run


def _sets(texts: Sequence[str]) -> list[Hashes]:
    values, counts = shingles(texts)
    return [_distinct(piece) for piece in np.split(values, np.cumsum(counts)[:-1])]


def _distinct(values: Hashes) -> Hashes:
    """Sorted, each once: what ``np.unique`` gives, in a third of its time for so few."""
    ordered = np.sort(values)
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    return ordered[is_first[: len(ordered)]]
