"""The steps of a corpus, cut at the global ones into segments: each turns shards into shards, in any process.

A segment carries out what a global step has decided, applies local steps, and sketches what is left for the global step
that follows; the last one sorts the documents into splits.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import load_file, save

from lathe.core.data import Bad
from lathe.core.digest import file_digest, whole_file
from lathe.core.documents import SPLITS, DocumentWriter, Split, Written, read_document_file
from lathe.core.errors import DataError
from lathe.core.types import Document
from lathe.corpus.census import Census
from lathe.corpus.ledger import Ledger
from lathe.corpus.protocol import Dropped, GlobalStep, Item, LocalStep, Noted, Source, Step, Unit, Verdict
from lathe.corpus.shards import MARKER, QUARANTINE, SKETCH, Made, Shard, cut

LEVEL = 1
"""Compression of shards: they are read once and thrown away."""

SOURCE = "source"
"""What stands for a step where the source itself leaves a document out."""


@dataclass(frozen=True)
class Segment:
    """What is done to every shard between two decisions."""

    folder: Path
    shard_bytes: int  # of text
    judge: GlobalStep | None = None  # has decided on the documents that come in
    steps: tuple[LocalStep, ...] = ()
    sketch: GlobalStep | None = None  # will decide on those that go out
    split: Callable[[Document], Split] | None = None
    tokenizer: Path | None = None  # counts tokens

    def make(self, shard: Shard, ledger: Ledger, documents: Iterable[Document], bad: Sequence[Bad], last: bool) -> Made:
        """A shard of the documents that the steps leave; its marker is written last."""
        for step in self.steps:
            documents = ledger.through(step.kind, _applied(step, documents))
        kept = list(documents)
        ledger.kept = len(kept)
        ledger.check()
        others = {QUARANTINE: "".join(map(_line, bad)).encode()} if bad else {}
        if self.sketch is not None:
            others[SKETCH] = save(dict(self.sketch.sketch(kept)))
        for end, content in others.items():
            shard.path(end).write_bytes(content)
        written = self._write(shard, kept)
        if self.split is not None:
            ledger.finish(kept, self.tokenizer)
        made = Made(shard.name, ledger, written, {end: file_digest(shard.path(end)) for end in others}, last)
        with whole_file(shard.path(MARKER)) as marker:  # if it reaches the disk before what it describes, that shows
            marker.write(json.dumps(made.to_json(), ensure_ascii=False).encode())
        return made

    def _write(self, shard: Shard, documents: Sequence[Document]) -> dict[str, Written]:
        with ExitStack() as stack:
            parts: tuple[str, ...] = SPLITS if self.split else ("",)
            writers = {part: stack.enter_context(DocumentWriter(shard.documents(part), LEVEL)) for part in parts}
            for document in documents:
                writers[self.split(document) if self.split else ""].write(document)
        return {part: writer.written for part, writer in writers.items()}


def segments(steps: Sequence[Step], first: Segment, split: Callable[[Document], Split]) -> list[Segment]:
    """Cut the steps at the global ones; ``first`` says where and how, the last one splits."""
    found = [first]
    for step in steps:
        if isinstance(step, GlobalStep):
            found[-1] = replace(found[-1], sketch=step)
            found.append(replace(first, folder=first.folder.with_name(str(len(found))), judge=step))
        else:
            found[-1] = replace(found[-1], steps=(*found[-1].steps, step))
    return [*found[:-1], replace(found[-1], split=split)]


class Result(NamedTuple):
    made: list[Made]
    is_new: bool  # not done by an earlier run


class Reading(NamedTuple):
    """A unit to be read by the first segment."""

    segment: Segment
    source: Source[Any]
    unit: Unit
    number: int


def read_unit(task: Reading) -> Result:
    """Make the shards of a unit; what is done already is only read over."""
    folder, made = task.segment.folder, list[Made]()
    while not (made and made[-1].is_last):
        if (found := Shard.of_unit(folder, task.number, len(made)).made()) is None:
            break
        made.append(found)
    if made and made[-1].is_last:
        return Result(made, is_new=False)
    done = len(made)
    for number, (items, last) in enumerate(cut(task.source.read(task.unit), task.segment.shard_bytes)):
        if number >= done:
            made.append(_read_shard(task.segment, Shard.of_unit(folder, task.number, number), items, last))
        elif last or made[number].ledger.read != sum(not isinstance(item, Noted) for item in items):
            raise DataError(f"{task.unit.name}: changed while it was read; delete the work folder and start again")
    return Result(made, is_new=True)


def _read_shard(segment: Segment, shard: Shard, items: Iterable[Item], last: bool) -> Made:
    ledger, documents, bad, left_out = Ledger(), list[Document](), list[Bad](), list[Document]()
    for item in items:
        if isinstance(item, Noted):
            ledger.note(item)
            continue
        ledger.read += 1
        if isinstance(item, Document):
            documents.append(item)
        elif isinstance(item, Dropped):
            ledger.drop(item, SOURCE)
            left_out.append(item.document)
        else:
            bad.append(item)
    ledger.quarantined = len(bad)
    ledger.before = Census.of(documents + left_out, segment.tokenizer)
    return segment.make(shard, ledger, documents, bad, last)


class Carrying(NamedTuple):
    """A shard of the segment before, to be carried through the next one."""

    segment: Segment
    shard: Shard
    verdicts: Path


def carry(task: Carrying) -> Result:
    shard, judge = Shard(task.segment.folder, task.shard.name), task.segment.judge
    if (made := shard.made()) is not None:
        return Result([made], is_new=False)
    documents = list(read_document_file(task.shard.documents()))
    ledger = Ledger(read=len(documents))
    judged = judge.judge(documents, load_file(task.verdicts)) if judge else iter(documents)
    kept = ledger.through(judge.kind if judge else "", judged)
    return Result([task.segment.make(shard, ledger, kept, (), last=True)], is_new=True)


def _applied(step: LocalStep, documents: Iterable[Document]) -> Iterator[Verdict]:
    for document in documents:
        try:
            yield step(document)
        except Exception as error:  # a fault of the step; whoever mends it needs to know the document
            error.add_note(f"in the step {step.kind} on the document {document.id}")
            raise


def _line(bad: Bad) -> str:
    return json.dumps(asdict(bad), ensure_ascii=False) + "\n"
