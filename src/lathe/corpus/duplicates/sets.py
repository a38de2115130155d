"""Shingle sets of chosen documents on disk, made from their texts when they are needed, and kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from lathe.core.report import progress
from lathe.core.types import Document
from lathe.corpus.duplicates.minhash import Booleans, shared
from lathe.corpus.duplicates.rows import Places, mapped, put
from lathe.corpus.duplicates.shingles import CHUNK, Counts, Hashes, shingles

BITS = np.uint64(48)
"""Of a shingle in a set. Of two texts of a thousand words, different ones are taken for equal once in 10**8 cases."""


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
                    values, sizes = _sets(run)
                    put(values, stream)
                    self.sizes[place] = sizes
                    self.starts[place] = at + np.cumsum(sizes) - sizes
                    at += len(values)
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
    """Texts of some ``CHUNK`` characters at a time; their numbers have 64 - ``BITS`` bits."""
    run, size = list[str](), 0
    for document in documents:
        run.append(document.text)
        size += len(document.text)
        if size >= CHUNK or len(run) == 2**16:
            yield run
            run, size = [], 0
    if run:
        yield run


def _sets(texts: Sequence[str]) -> tuple[Hashes, Counts]:
    """The sets of some texts, one after another, and their sizes: values of ``BITS`` bits, sorted, each once."""
    values, counts = shingles(texts)
    owners = np.repeat(np.arange(len(texts), dtype=np.uint64), counts)
    keys = np.sort(owners << BITS | values >> np.uint64(64 - BITS))  # one sort for all
    keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))[: len(keys)]]
    sizes = np.bincount((keys >> BITS).astype(np.int64), minlength=len(texts))
    return keys & ((np.uint64(1) << BITS) - np.uint64(1)), sizes
