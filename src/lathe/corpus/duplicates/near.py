"""Near duplicates: texts whose sets of shingles have a Jaccard similarity of at least a threshold."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from pydantic import Field

from lathe.core.recipe import recipe
from lathe.core.report import quiet
from lathe.core.types import Document
from lathe.corpus.duplicates.clusters import clusters
from lathe.corpus.duplicates.earlier import NONE, Against, earlier, own_twins, repeated, sketches
from lathe.corpus.duplicates.minhash import sketch_of
from lathe.corpus.duplicates.search import Search
from lathe.corpus.protocol import Arrays, Decision, Room, Sketched, Verdict

MEMORY = 2**28
"""Bytes in which texts that are in memory are compared."""


@recipe
class DropNearDuplicates(Against):
    """Drop documents that share most of their word 5-grams (Chinese: character 5-grams) with an earlier one."""

    kind: Literal["drop_near_duplicates"] = "drop_near_duplicates"
    threshold: float = Field(0.8, ge=0.5, le=1)
    """Jaccard similarity of the sets of 5-grams from which on a document is a duplicate."""

    def sketch(self, documents: Sequence[Document]) -> Arrays:
        return sketch_of([document.text for document in documents])._asdict()

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:
        before = earlier(self.against)
        count = sum(split.count for split in before)
        twins = Search((*before, *shards), count, self.threshold, room).twins(sketches(self, before, shards))
        return Decision(own_twins(twins, shards), clusters(twins, count, room))

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        return repeated(documents, verdicts["twins"], "near duplicate", self.against)


class InMemory:
    """Texts as a search reads them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts, self.count = texts, len(texts)

    def documents(self) -> Iterator[Document]:
        return (Document(text, str(index)) for index, text in enumerate(self._texts))


def near_duplicates(texts: Sequence[str], threshold: float) -> dict[int, int]:
    """Index of each near duplicate -> the earlier text that it repeats and that stays."""
    with TemporaryDirectory() as folder, quiet():
        room = Room(Path(folder), MEMORY)
        twins = Search([InMemory(texts)], 0, threshold, room).twins([sketch_of(texts)._asdict()])
        found = np.flatnonzero(twins != NONE)
        return dict(zip(found.tolist(), twins[found].tolist(), strict=True))
