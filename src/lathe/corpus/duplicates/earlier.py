"""Corpora that were made earlier: their documents come before all others, and stay whatever they repeat."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lathe.core.bundle import Bundle
from lathe.core.documents import SUFFIX, Split, read_documents, splits_of
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.duplicates.rows import Places
from lathe.corpus.protocol import Arrays, Dropped, GlobalStep, Sketched, Verdict
from lathe.corpus.shards import SHARD_BYTES

NONE = -1
"""In place of the twin of a document that repeats nothing. An earlier document at place p is -2 - p."""


@dataclass(frozen=True)
class Earlier:
    """One split of a corpus."""

    path: Path
    split: Split
    count: int

    def documents(self) -> Iterator[Document]:
        return read_documents(self.path, self.split)


def earlier(against: Sequence[Path]) -> list[Earlier]:
    """The splits of corpus bundles, in order. Raises ``BundleError`` where a path is none."""
    return [
        Earlier(path, split, Bundle.open(path).manifest.scores["splits"][split]["documents"])
        for path in against
        for split in splits_of(path)
    ]


@recipe
class Against:
    """What steps that compare documents with those of earlier corpora have in common."""

    against: tuple[Path, ...] = ()
    """Corpora made earlier: what repeats something of theirs is a duplicate here, too."""

    def inputs(self) -> list[Path]:
        return list(self.against)

    def prepare(self, memory: int) -> None:
        earlier(self.against)


def sketches(step: GlobalStep, before: Sequence[Earlier], shards: Sequence[Sketched]) -> Iterator[Arrays]:
    """Those of earlier documents, made now, and those of the shards."""
    for split in before:
        for documents in _runs(split.documents()):
            yield step.sketch(documents)
    for shard in shards:
        yield shard.sketch()


def own_twins(twins: Places, shards: Sequence[Sketched]) -> Iterator[Arrays]:
    """``twins`` of all documents, earlier ones first, cut into those of each shard, whose places start at 0."""
    before = start = len(twins) - sum(shard.count for shard in shards)
    for shard in shards:
        found = twins[start : start + shard.count].copy()
        is_own, is_earlier = found >= before, (found >= 0) & (found < before)
        found[is_own] -= before
        found[is_earlier] = -2 - found[is_earlier]
        yield {"twins": found}
        start += shard.count


def repeated(documents: Iterable[Document], twins: Places, reason: str, against: Sequence[Path]) -> Iterator[Verdict]:
    """Verdicts from what ``own_twins`` gives for a shard.  [D]"""
    before = earlier(against) if (twins < NONE).any() else []
    for document, twin in zip(documents, twins.tolist(), strict=True):
        if twin == NONE:
            yield document
        elif twin >= 0:
            yield Dropped(document, reason, twin)
        else:
            yield Dropped(document, f"{reason} of an earlier corpus", _name(before, -2 - twin))


def _name(before: Sequence[Earlier], place: int) -> str:
    """File and line of an earlier document."""
    for split in before:
        if place < split.count:
            return f"{split.path / split.split}{SUFFIX}:{place + 1}"
        place -= split.count
    raise IndexError(place)


def _runs(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """As many documents at a time as a shard holds."""
    run, size = list[Document](), 0
    for document in documents:
        run.append(document)
        size += 4 * len(document.text)  # bytes in UTF-8 at most
        if size >= SHARD_BYTES:
            yield run
            run, size = [], 0
    if run:
        yield run
