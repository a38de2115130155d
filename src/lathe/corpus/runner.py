"""Runs the steps of a corpus over all units and shards, in some processes, going on from whatever is done.

Every segment ends with a file of what it made; then what the segment before it made is removed. So a run that is killed
and started again, with any number of processes, does again only the shards that were under way, and its output is the
same byte for byte: order is that of units and shards, never of time.
"""

import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple, Self

from safetensors.numpy import load_file, save_file

from lathe.core.digest import sync_tree, whole_file, write_json
from lathe.core.documents import Split, Written, read_document_file
from lathe.core.report import Meter, progress
from lathe.core.types import Document
from lathe.corpus.ledger import SHOWN, Ledger, Sample
from lathe.corpus.processes import Workers
from lathe.corpus.protocol import Arrays, Room, Source, Step
from lathe.corpus.segments import Carrying, Reading, Result, Segment, carry, read_unit, segments
from lathe.corpus.shards import MARKER, QUARANTINE, SHARD_BYTES, SKETCH, Made, Shard

VERDICTS = "verdicts"

WATCH_S = 5.0
"""Seconds between two looks at how many shards there are."""

SMALL = 2**24
"""Bytes that one process is done with before a second one has started."""


class Part(NamedTuple):
    """A shard that holds documents."""

    name: str
    written: dict[str, Written]  # by split, or under "" before there are splits

    @property
    def documents(self) -> int:
        return sum(written.documents for written in self.written.values())

    @property
    def bytes(self) -> int:
        return sum(written.bytes for written in self.written.values())


@dataclass
class Progress:
    """Where a run stands after a segment: the books of everything so far, and what it has made."""

    ledger: Ledger = field(default_factory=Ledger)
    parts: list[Part] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)  # kind of a global step -> what it told

    def to_json(self) -> dict[str, Any]:
        return {"ledger": self.ledger.to_json(), "parts": self.parts, "scores": self.scores}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        parts = [Part(name, {key: Written(*value) for key, value in found.items()}) for name, found in values["parts"]]
        return cls(Ledger.of_json(values["ledger"]), parts, values["scores"])


@dataclass(frozen=True)
class Runner:
    """Everything a run needs to know beside its documents."""

    source: Source[Any]
    steps: Sequence[Step]
    split: Callable[[Document], Split]
    folder: Path
    workers: Workers
    memory: int  # bytes that a decision may take
    tokenizer: Path | None = None  # counts tokens

    def run(self) -> Progress:
        """Make the shards of the last segment, which has the documents by split; see ``shards``."""
        here = Progress()
        for index, segment in enumerate(self._plan):
            end = self.folder / f"{index}{MARKER}"
            if end.is_file():
                here = Progress.of_json(json.loads(end.read_text("utf-8")))
            else:
                segment.folder.mkdir(parents=True, exist_ok=True)
                here = self._carried(self._plan[index - 1], segment, here) if index else self._read(segment)
                here.ledger.check()
                sync_tree(segment.folder)
                write_json(end, here.to_json())
            if index:
                shutil.rmtree(self._plan[index - 1].folder, ignore_errors=True)
            if not here.ledger.kept:
                break
        return here

    @property
    def quarantine(self) -> Path:
        """Every fault that was found, in order; JSON lines."""
        return self.folder / "quarantine.jsonl"

    def shards(self, here: Progress) -> Iterator[tuple[Shard, Part]]:
        """What is left when the run is through."""
        return ((Shard(self._plan[-1].folder, part.name), part) for part in here.parts)

    @property
    def _plan(self) -> list[Segment]:
        return segments(self.steps, Segment(self.folder / "0", SHARD_BYTES, tokenizer=self.tokenizer), self.split)

    def _read(self, segment: Segment) -> Progress:
        here, units = Progress(), self.source.units()
        tasks = [Reading(segment, self.source, unit, index) for index, unit in enumerate(units)]
        size = sum(unit.size for unit in units)
        with (
            progress("reading", size // 1000, "kB") as meter,
            watched(segment.folder, meter),
            whole_file(self.quarantine) as quarantine,
        ):
            for task, result in zip(tasks, self._map(read_unit, tasks, size), strict=True):
                _advance(meter, result, task.unit.size // 1000)
                for made in result.made:
                    here.ledger.add(made.ledger)
                    here.parts += _parts(made)
                    if QUARANTINE in made.sha256:
                        with Shard(segment.folder, made.name).path(QUARANTINE).open("rb") as faults:
                            shutil.copyfileobj(faults, quarantine)
        return here

    def _carried(self, before: Segment, segment: Segment, here: Progress) -> Progress:
        """Decide on the documents of the segment before, and take its shards through this one."""
        scores = self._decide(before, here)
        tasks = [
            Carrying(segment, Shard(before.folder, part.name), before.folder / VERDICTS / f"{part.name}{SKETCH}")
            for part in here.parts
        ]
        label = ", ".join(step.kind for step in (segment.judge, *segment.steps) if step)
        after, parts = Ledger(), list[Part]()
        with progress(label, here.ledger.kept, "documents") as meter:
            for result in self._map(carry, tasks, sum(part.bytes for part in here.parts)):
                for made in result.made:
                    _advance(meter, result, made.ledger.read)
                    after.add(made.ledger)
                    parts += _parts(made)
        self._name_twins(before, here.parts, after)
        here.ledger.follow(after)
        return Progress(here.ledger, parts, here.scores | scores)

    def _decide(self, segment: Segment, here: Progress) -> dict[str, Any]:
        """Save the verdicts on each shard of a segment; returns what the step tells for the scores."""
        step, decided, verdicts = segment.sketch, segment.folder / "decided.json", segment.folder / VERDICTS
        if step is None or decided.is_file():
            return json.loads(decided.read_text("utf-8")) if step else {}
        room = Room(segment.folder / "room", self.memory)
        for folder in (verdicts, room.folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        shards = [OnDisk(Shard(segment.folder, part.name), part.documents) for part in here.parts]
        decision = step.decide(shards, room)
        with progress(f"{step.kind}: deciding", here.ledger.kept, "documents") as meter:
            for part, arrays in zip(here.parts, decision.verdicts, strict=True):
                save_file(dict(arrays), verdicts / f"{part.name}{SKETCH}")
                meter.advance(part.documents)
        shutil.rmtree(room.folder)
        sync_tree(verdicts)
        scores = {step.kind: decision.scores} if decision.scores else {}
        write_json(decided, scores)
        return scores

    def _name_twins(self, before: Segment, parts: Sequence[Part], ledger: Ledger) -> None:
        """Ids for the places of twins in the samples, and their texts."""
        ends = list(accumulate(part.documents for part in parts))

        def named(sample: Sample) -> Sample:
            if not isinstance(sample.twin, int):
                return sample
            twin = _document_at(before.folder, parts, ends, sample.twin)
            return sample._replace(twin=twin.id, twin_text=twin.text[:SHOWN])

        for reason, samples in ledger.samples.items():
            ledger.samples[reason] = [named(sample) for sample in samples]

    def _map(self, function: Callable[[Any], Result], tasks: Sequence[Any], size: int) -> Iterator[Result]:
        return self.workers.map(function, tasks) if size > SMALL else map(function, tasks)


@dataclass(frozen=True)
class OnDisk:
    """A shard as a global step sees it when it decides."""

    shard: Shard
    count: int

    def sketch(self) -> Arrays:
        return load_file(self.shard.path(SKETCH))

    def documents(self) -> Iterator[Document]:
        return read_document_file(self.shard.documents())


def _document_at(folder: Path, parts: Sequence[Part], ends: Sequence[int], place: int) -> Document:
    index = bisect_right(ends, place)
    inside = place - (ends[index] - parts[index].documents)
    return next(islice(read_document_file(Shard(folder, parts[index].name).documents()), inside, None))


def _parts(made: Made) -> list[Part]:
    """A shard of which nothing is left has no part in what follows."""
    return [Part(made.name, dict(made.written))] if made.ledger.kept else []


@contextmanager
def watched(folder: Path, meter: Meter) -> Iterator[None]:
    """Meanwhile, say how many shards there are: a unit that cannot be cut may take hours."""
    over = Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            meter.advance(0, note=f"{len(list(folder.glob(f'*{MARKER}'))):,} shards")

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _advance(meter: Meter, result: Result, count: int) -> None:
    (meter.advance if result.is_new else meter.skip)(count)
