"""The search for near duplicates among any number of documents, on disk and within some memory.

A document is dropped where an earlier one that stays is proved to be similar. Which pairs are tried is found in
rounds: each document that would stay is compared with the first one that would in each of its buckets, and with the one
before it. Who stays is then judged anew over all pairs proved so far, until a round proves nothing more. So the work
grows with the number of documents, not with its square, however large a bucket is.

A pair (earlier, later) is one number, later * N + earlier: sorted, pairs stand in the order in which they are judged.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lathe.core.report import progress
from lathe.corpus.duplicates.earlier import NONE
from lathe.corpus.duplicates.minhash import BANDS, ROWS, SLACK, Booleans, buckets_of
from lathe.corpus.duplicates.rows import Parts, Places, Rows, mapped, put, spread
from lathe.corpus.duplicates.sets import Sets, Texts
from lathe.corpus.protocol import Arrays, Room

BUCKET_BYTES = 96
"""Memory for each row of a bucket while buckets are worked on: the row, its order, and copies in that order."""

PAIR_BYTES = 512
"""Memory for the pairs of a document: there are at most two for each band, and mostly few."""

AT_ONCE = 2**14
"""Pairs whose signatures are in memory together."""


@dataclass(frozen=True)
class Search:
    texts: Sequence[Texts]  # in order
    before: int  # the first so many stay, whatever they repeat: they belong to earlier corpora
    threshold: float
    room: Room

    @property
    def count(self) -> int:
        """N, documents in all."""
        return sum(texts.count for texts in self.texts)

    def twins(self, sketches: Iterable[Arrays]) -> Places:
        """Place of the earlier document that each one repeats, or NONE.  [N], on disk"""
        folder, count = self.room.folder, self.count
        parts = 1 + count * PAIR_BYTES // self.room.memory
        tried, proved = (Parts(folder, name, parts, width=1) for name in ("tried", "proved"))
        twins, linked = mapped(folder, "twins", np.int64, count), mapped(folder, "linked", np.bool_, count)
        sets, signatures, number = Sets.empty(folder, count), folder / "signatures", 0
        twins[:] = NONE
        buckets = self._buckets(sketches, signatures)
        while True:
            proposed = self._proposed(buckets, twins, Parts(folder, f"proposed-{number}", parts, width=1), linked)
            likely = self._likely(proposed, tried, signatures, Parts(folder, f"likely-{number}", parts, width=1))
            if not self._prove(likely, sets, proved):
                return twins
            self._judge(proved, twins)
            if number == 0:  # whoever shares no bucket with anyone never will
                buckets = self._only(buckets, linked)
            number += 1

    def _buckets(self, sketches: Iterable[Arrays], signatures: Path) -> Parts:
        """Rows (bucket, place) of all documents that have words; the signatures are written down on the way."""
        parts = Parts(self.room.folder, "buckets", 1 + self.count * BANDS * BUCKET_BYTES // self.room.memory, width=2)
        start = 0
        with signatures.open("wb") as stream, progress("near duplicates: sketches", self.count, "documents") as meter:
            for arrays in sketches:
                put(arrays["signatures"], stream)
                places = np.flatnonzero(arrays["has_words"])
                found = buckets_of(arrays["signatures"][places]).ravel()
                rows = np.column_stack((found, np.tile((start + places).astype(np.uint64), BANDS)))
                parts.add(rows, spread(found, parts.count))
                start += len(arrays["has_words"])
                meter.advance(len(arrays["has_words"]))
        return parts

    def _only(self, buckets: Parts, linked: Booleans) -> Parts:
        fewer = Parts(buckets.folder, "linked-buckets", buckets.count, width=2)
        for part in range(buckets.count):
            for rows in buckets.read(part, self.room.memory // BUCKET_BYTES):
                fewer.append(rows[linked[rows[:, 1].astype(np.int64)]], part)
        buckets.remove()
        return fewer

    def _proposed(self, buckets: Parts, twins: Places, found: Parts, linked: Booleans) -> Parts:
        """Pairs of documents that would stay and share a bucket: each with the first, and with the one before it."""
        for part in range(buckets.count):
            for earlier, later in _neighbours(buckets.read(part, self.room.memory // BUCKET_BYTES), twins):
                linked[earlier], linked[later] = True, True
                new = (earlier < later) & (later >= self.before)
                pairs = later[new].astype(np.uint64) * np.uint64(self.count) + earlier[new].astype(np.uint64)
                found.add(pairs[:, None], self._owners(later[new], found.count))
        return found

    def _likely(self, proposed: Parts, tried: Parts, file: Path, found: Parts) -> Parts:
        """Of the pairs not tried yet those whose estimated similarity, the share of equal numbers, may be enough."""
        for part in range(proposed.count):
            pairs = np.zeros(0, np.uint64)
            for run in proposed.read(part, self.room.memory // 64):
                pairs = np.unique(np.concatenate((pairs, run[:, 0])))
            pairs = pairs[~np.isin(pairs, tried.whole(part)[:, 0])]
            tried.append(pairs[:, None], part)
            for start in range(0, len(pairs), AT_ONCE):
                some = pairs[start : start + AT_ONCE, None]
                signatures = np.asarray(np.memmap(file, np.uint32, "r")).reshape(-1, BANDS * ROWS)
                a, b = self._places(some).T
                enough = (signatures[a] == signatures[b]).mean(1) >= self.threshold - SLACK
                found.append(some[enough], part)
        proposed.remove()
        return found

    def _prove(self, likely: Parts, sets: Sets, proved: Parts) -> int:
        """Enter the pairs that are similar; returns how many."""
        wanted, total = mapped(self.room.folder, "wanted", np.bool_, self.count), 0
        for part in range(likely.count):
            wanted[self._places(likely.whole(part))] = True
        for start in range(0, len(wanted), 2**20):
            wanted[start : start + 2**20] &= sets.sizes[start : start + 2**20] == 0
        sets.make(self.texts, wanted)
        for part in range(likely.count):
            for run in likely.read(part, self.room.memory // 64):
                similar = run[sets.similarities(self._places(run)) >= self.threshold]
                proved.append(similar, part)
                total += len(similar)
        likely.remove()
        return total

    def _judge(self, proved: Parts, twins: Places) -> None:
        """Drop each document that is similar to an earlier one that stays, in order."""
        twins[:] = NONE
        for part in range(proved.count):
            pairs = self._places(np.sort(proved.whole(part), axis=0))
            for start in range(0, len(pairs), AT_ONCE):  # as Python's numbers, pairs take ten times the memory
                for earlier, later in pairs[start : start + AT_ONCE].tolist():
                    if twins[earlier] == NONE == twins[later]:
                        twins[later] = earlier

    def _places(self, pairs: Rows) -> Places:
        """(earlier, later) of each pair.  [P, 2]"""
        later, earlier = np.divmod(pairs[:, 0], np.uint64(max(self.count, 1)))
        return np.stack((earlier, later), 1).astype(np.int64)

    def _owners(self, later: Places, parts: int) -> Places:
        """Ranges of later documents, so that parts in their order are pairs in their order."""
        return (later - self.before) * parts // max(self.count - self.before, 1)


def _neighbours(runs: Iterable[Rows], twins: Places) -> Iterator[tuple[Places, Places]]:
    """(earlier, later) documents of buckets; of the runs before, the first and the last row of a bucket are held."""
    held = np.zeros((0, 2), np.uint64)
    for run in runs:
        rows = np.concatenate((held, run[twins[run[:, 1].astype(np.int64)] == NONE]))
        rows = rows[np.argsort(rows[:, 0])]
        same = np.concatenate(([False], rows[1:, 0] == rows[:-1, 0], [False]))  # as the row before
        alone = ~(same[:-1] | same[1:])[: len(rows)]
        found = rows[~alone]
        found = found[np.lexsort((found[:, 1], found[:, 0]))]  # inside a bucket in the order of places
        is_first = np.concatenate(([True], found[1:, 0] != found[:-1, 0]))[: len(found)]
        is_last = np.concatenate((found[1:, 0] != found[:-1, 0], [True]))[: len(found)]
        leaders = np.maximum.accumulate(np.where(is_first, np.arange(len(found)), 0))
        places, later = found[:, 1].astype(np.int64), np.flatnonzero(~is_first)
        yield np.concatenate((places[leaders[later]], places[later - 1])), np.tile(places[later], 2)
        held = np.concatenate((rows[alone], found[is_first | is_last]))
