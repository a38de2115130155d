"""What sources and steps of a corpus look like. They say what happens to documents and know nothing of who runs them.

A source is cut into *units*; a process reads one front to back, in *shards* of bounded size. A *local* step judges one
document by itself. A *global* step compares documents with one another: it sketches each shard alone, decides once over
all sketches, and judges each shard alone again. So everything but ``decide`` can run in any process, in any order.

Sources and steps are frozen recipes: picklable, equal to their options, without open files. What is dear to load (a
model, a list of words) lives in a module function under ``functools.cache`` that the step calls.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from lathe.core.data import Bad
from lathe.core.types import Document

Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]
"""Named arrays of numbers: what a global step keeps of documents, and what it decides on them."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that leaves the corpus, and why."""

    document: Document
    reason: str  # one of a few fixed wordings: it is counted
    twin: str | int | None = None  # the kept document that it repeats: its id, or its place in what ``decide`` saw
    overlap: str = ""  # what it has in common with its twin, where that is why it leaves; such documents are listed


@dataclass(frozen=True, slots=True)
class Changed:
    """A document that stays, less or other than it was, with counts of what was done to it: ``{"line too long": 2}``.

    A change of form only (white space, Unicode) needs no count; text that is taken away or masked does.
    """

    document: Document
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Noted:
    """What a source found out on the way, to be counted in the scores: ``Noted("encodings", "GB18030")`` for a file."""

    subject: str
    value: str
    count: int = 1


Verdict: TypeAlias = Document | Changed | Dropped
Item: TypeAlias = Document | Dropped | Bad | Noted
"""What comes out of a source: a document, one that the format itself leaves out (a redirect), a fault, a remark."""


@dataclass(frozen=True)
class Unit:
    """A part of the input that one process reads; a source adds what it needs to find it."""

    name: str  # for people, in messages
    size: int  # about how many bytes are read: for progress, and to tell small work from large


U = TypeVar("U", bound=Unit)


class Source(Protocol[U]):
    """Where documents come from."""

    def inputs(self) -> list[Path]:
        """The user's files and folders; their digests say what run this is."""

    def states(self) -> Mapping[str, str]:
        """Digests, by name, of what is read and is no file of the user's."""

    def units(self) -> Sequence[U]:
        """The input in order, cut so that processes can share it: a function of the recipe and the files alone.

        Raises ``DataError`` where there is nothing to read.
        """

    def read(self, unit: U) -> Iterator[Item]:
        """What a unit holds, in order, the same every time, in bounded memory. Texts can be encoded as UTF-8."""

    def group_of(self, document: Document) -> str:
        """Documents of a group are on one side of the split."""


class LocalStep(Protocol):
    """A rule on one document.

    A rule that reads files also has ``inputs()``, as a source has, and ``prepare(memory)``, which looks at them before
    any document is read: it raises what is wrong with them, and makes of them, within so many bytes, what all processes
    share.
    """

    @property
    def kind(self) -> str: ...

    def __call__(self, document: Document) -> Verdict: ...


class Sketched(Protocol):
    """A shard as ``decide`` sees it."""

    @property
    def count(self) -> int:
        """D, documents in the shard."""

    def sketch(self) -> Arrays:
        """What ``sketch`` made of them, read from disk: hold it no longer than needed."""

    def documents(self) -> Iterator[Document]:
        """The documents themselves, for a step that verifies what its sketches propose."""


class Room(NamedTuple):
    """What ``decide`` may use. What it decides does not depend on how much that is."""

    folder: Path  # empty when ``decide`` starts, gone when its verdicts are saved
    memory: int  # bytes


class Decision(NamedTuple):
    verdicts: Iterable[Arrays]  # one for each shard, in order; saved as they come
    scores: Mapping[str, Any] = MappingProxyType({})  # plain JSON values; read after the last verdict


@runtime_checkable
class GlobalStep(Protocol):
    """A rule that compares documents. A document's *place* is its number over all shards in order, from 0.

    One that reads files also has ``inputs()`` and ``prepare(memory)``, as a local step has.
    """

    @property
    def kind(self) -> str: ...

    def sketch(self, documents: Sequence[Document]) -> Arrays:
        """What a decision needs to know of some documents, small; {} if it reads the documents anyway."""

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:
        """Compare all documents. Runs in one process, within ``room.memory``; a pure function of the shards."""

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        """One verdict for each document of a shard, in order."""


Step: TypeAlias = LocalStep | GlobalStep


def inputs_of(step: Step) -> list[Path]:
    """The files that a step reads."""
    return list(step.inputs()) if hasattr(step, "inputs") else []


def prepare(step: Step, memory: int) -> None:
    """Look at the files that a step reads."""
    if hasattr(step, "prepare"):
        step.prepare(memory)
