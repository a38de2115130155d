"""The rules that compare documents: of several that say the same, the first is kept."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import Document
from lathe.corpus.near import clusters, near_duplicates
from lathe.corpus.protocol import Arrays, Decision, Dropped, Room, Sketched, Verdict

DIGEST_BYTES = 16
"""Two different texts among 10**12 have the same digest with a probability of 10**-15."""

SORTING_BYTES = 128
"""Memory for each document while equal digests are looked for: rows, their order, and copies in that order."""

Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@recipe
class DropExactDuplicates:
    """Drop documents whose text was seen before, character by character."""

    kind: Literal["drop_exact_duplicates"] = "drop_exact_duplicates"

    def sketch(self, documents: Sequence[Document]) -> Arrays:
        digests = b"".join(hashlib.sha256(d.text.encode("utf-8")).digest()[:DIGEST_BYTES] for d in documents)
        return {"digests": np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)}  # [D, 2]

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:
        return Decision(by_shard(first_of_equals(shards, room), shards))

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        return repeated(documents, verdicts["twins"], "exact duplicate")


@recipe
class DropNearDuplicates:
    """Drop documents that share most of their word 5-grams with an earlier one. Holds the documents in memory."""

    kind: Literal["drop_near_duplicates"] = "drop_near_duplicates"
    threshold: float = Field(0.8, ge=0.5, le=1)
    """Jaccard similarity of the sets of 5-grams from which on a document is a duplicate."""

    def sketch(self, documents: Sequence[Document]) -> Arrays:  # noqa: ARG002 (the documents are read again)
        return {}

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:  # noqa: ARG002 (as GlobalStep)
        found = near_duplicates([d.text for shard in shards for d in shard.documents()], self.threshold)
        say(f"near duplicates: {len(found):,} documents repeat one of {clusters(found):,}")
        twins = np.full(sum(shard.count for shard in shards), -1, np.int64)
        twins[list(found)] = list(found.values())
        return Decision(by_shard(twins, shards))

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        return repeated(documents, verdicts["twins"], "near duplicate")


def repeated(documents: Iterable[Document], twins: Places, reason: str) -> Iterator[Verdict]:
    """``twins`` [D]: place of the document that each one repeats, or -1."""
    for document, twin in zip(documents, twins.tolist(), strict=True):
        yield document if twin < 0 else Dropped(document, reason, twin)


def by_shard(twins: Places, shards: Sequence[Sketched]) -> Iterator[Arrays]:
    """``twins`` of all documents, cut into those of each shard."""
    start = 0
    for shard in shards:
        yield {"twins": np.array(twins[start : start + shard.count])}
        start += shard.count


def first_of_equals(shards: Sequence[Sketched], room: Room) -> Places:
    """Place of the first document with the same digest, -1 for that one itself.  [documents], on disk

    Equal digests fall into one part, and a part fits into memory, so each part is done by itself.
    """
    count = sum(shard.count for shard in shards)
    twins = np.memmap(room.folder / "twins", np.int64, "w+", shape=count)
    for file in _parts(shards, 1 + count * SORTING_BYTES // room.memory, room.folder):
        rows = np.fromfile(file, np.uint64).reshape(-1, 3)  # [R, digest, digest, place]
        rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
        repeats = np.concatenate(([False], (rows[1:, :2] == rows[:-1, :2]).all(1)))
        firsts = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(rows))))
        places = rows[:, 2].astype(np.int64)
        twins[places] = np.where(repeats, places[firsts], -1)
    return twins


def _parts(shards: Sequence[Sketched], count: int, folder: Path) -> list[Path]:
    """Files of digests and places, so that equal digests are in one file."""
    files, start = [folder / f"part-{index}" for index in range(count)], 0
    for shard in shards:
        digests = shard.sketch()["digests"]
        places = np.arange(start, start + shard.count, dtype=np.uint64)
        rows = np.column_stack((digests, places))
        owners = digests[:, 0] % np.uint64(count)
        for index, file in enumerate(files):
            with file.open("ab") as stream:
                rows[owners == index].tofile(stream)
        start += shard.count
    return files
