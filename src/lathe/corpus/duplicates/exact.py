"""Texts, paragraphs and lines that were seen before, character by character; of several the first is kept."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from lathe.core.recipe import recipe
from lathe.core.scripts import has_words
from lathe.core.types import Document
from lathe.corpus.duplicates.clusters import clusters
from lathe.corpus.duplicates.earlier import NONE, Against, earlier, own_twins, repeated, sketches
from lathe.corpus.duplicates.rows import Parts, Places, mapped
from lathe.corpus.protocol import Arrays, Changed, Decision, Dropped, Room, Sketched, Verdict

DIGEST_BYTES = 16
"""Two different texts among 10**12 have the same digest with a probability of 10**-15."""

SORTING_BYTES = 128
"""Memory for each row while equal digests are looked for: rows, their order, and copies in that order."""

Digests: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]


@recipe
class DropExactDuplicates(Against):
    """Drop documents whose text was seen before, character by character."""

    kind: Literal["drop_exact_duplicates"] = "drop_exact_duplicates"

    def sketch(self, documents: Sequence[Document]) -> Arrays:
        return {"digests": digests_of(document.text for document in documents)}

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:
        before = earlier(self.against)
        digests = (arrays["digests"] for arrays in sketches(self, before, shards))
        count = sum(split.count for split in before)
        twins = first_of_equals(digests, count + sum(shard.count for shard in shards), room)
        return Decision(own_twins(twins, shards), clusters(twins, count, room))

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        return repeated(documents, verdicts["twins"], "exact duplicate", self.against)


@recipe
class DropRepeatedParts(Against):
    """Take away lines or paragraphs that were seen before: in the same document, another one, or an earlier corpus.

    White space around them does not count. A document of which no word is left is dropped.
    """

    kind: Literal["drop_repeated_parts"] = "drop_repeated_parts"
    part: Literal["paragraph", "line"] = "paragraph"
    """Paragraphs are what empty lines part."""
    min_words: int = Field(8, ge=1)
    """Words, or characters of Chinese, that a part must have: shorter ones repeat by chance, and stay."""

    def sketch(self, documents: Sequence[Document]) -> Arrays:
        return {"digests": digests_of(self._counted(documents))}

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:
        found, counts = Parts(room.folder, "digests", count=1, width=2), list[int]()
        for arrays in sketches(self, earlier(self.against), shards):
            found.append(arrays["digests"], 0)
            counts.append(len(arrays["digests"]))
        twins = first_of_equals(found.read(0, 2**16), sum(counts), room)
        own = counts[len(counts) - len(shards) :]
        stops = (sum(counts) - sum(own) + np.cumsum(own, dtype=np.int64)).tolist()
        return Decision({"repeats": twins[stop - n : stop] != NONE} for stop, n in zip(stops, own, strict=True))

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        repeats = iter(verdicts["repeats"].tolist())
        for document in documents:
            kept = [part for part, counts in self._parts(document) if not (counts and next(repeats))]
            gone = document.text.count(self._between) + 1 - len(kept)
            text = self._between.join(kept).strip("\n")
            if not gone:
                yield document
            elif has_words(text, 1):
                yield Changed(replace(document, text=text), {f"repeated {self.part}": gone})
            else:
                yield Dropped(document, f"only repeated {self.part}s")

    @property
    def _between(self) -> str:
        return "\n\n" if self.part == "paragraph" else "\n"

    def _counted(self, documents: Iterable[Document]) -> Iterator[str]:
        return (part.strip() for document in documents for part, counts in self._parts(document) if counts)

    def _parts(self, document: Document) -> Iterator[tuple[str, bool]]:
        """Each part, and whether it is long enough to count."""
        return ((part, has_words(part, self.min_words)) for part in document.text.split(self._between))


def digests_of(texts: Iterable[str]) -> Digests:
    """What stands for each text.  [N, 2]"""
    digests = b"".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES] for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


def first_of_equals(digests: Iterable[Digests], count: int, room: Room) -> Places:
    """Place of the first row with the same digest, NONE for that one itself.  [count], on disk

    Equal digests fall into one part. A part is read in runs; of those before only the first of each digest is held.
    """
    twins = mapped(room.folder, "twins", np.int64, count)
    parts = Parts(room.folder, "equal", 1 + count * SORTING_BYTES // room.memory, width=3)
    start = 0
    for rows in digests:
        places = np.arange(start, start + len(rows), dtype=np.uint64)
        parts.add(np.column_stack((rows, places)), (rows[:, 0] % np.uint64(parts.count)).astype(np.int64))
        start += len(rows)
    for part in range(parts.count):
        firsts = np.zeros((0, 3), np.uint64)  # [F, digest, digest, place]
        for run in parts.read(part, room.memory // SORTING_BYTES):
            rows = np.concatenate((firsts, run))
            rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]  # stable: equal ones stay in the order of their places
            repeats = np.concatenate(([False], (rows[1:, :2] == rows[:-1, :2]).all(1)))
            leaders = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(rows))))
            places = rows[:, 2].astype(np.int64)
            twins[places] = np.where(repeats, places[leaders], NONE)
            firsts = rows[~repeats]
    return twins
