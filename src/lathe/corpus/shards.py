"""A shard: documents of one unit on disk, with a marker beside them that is written last and says what they are.

A shard whose files are what its marker says is done and never made again; anything else, left by a kill or by a machine
that stopped, is made again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from lathe.core.digest import file_digest
from lathe.core.documents import SUFFIX, Written, utf8_size
from lathe.core.types import Document
from lathe.corpus.ledger import Ledger
from lathe.corpus.protocol import Dropped, Item

SHARD_BYTES = 32 * 2**20
"""Text of a shard, unless a single document is longer."""

SHARD_ITEMS = 2**16
"""Most documents, and other things that a source tells, of a shard."""

MARKER, SKETCH, QUARANTINE = ".json", ".safetensors", ".quarantine.jsonl"


class Made(NamedTuple):
    """A shard as its marker describes it."""

    name: str
    ledger: Ledger
    written: Mapping[str, Written]  # part of the shard (a split, or "" for all) -> what its file holds
    sha256: Mapping[str, str]  # of each other file, by what its name ends in
    is_last: bool  # of its unit

    @property
    def bytes(self) -> int:
        return sum(written.bytes for written in self.written.values())

    def to_json(self) -> dict[str, Any]:
        return self._asdict() | {"ledger": self.ledger.to_json()}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        written = {part: Written(*found) for part, found in values["written"].items()}
        return cls(**values | {"ledger": Ledger.of_json(values["ledger"]), "written": written})


def cut(items: Iterable[Item], most: int) -> Iterator[tuple[list[Item], bool]]:
    """Runs of items with at most so many bytes of text, a shard each, and whether it is the last one."""
    run, size = list[Item](), 0
    for item in items:
        amount = _size(item)
        if run and (size + amount > most or len(run) == SHARD_ITEMS):
            yield run, False
            run, size = [], 0
        run.append(item)
        size += amount
    yield run, True


def _size(item: Item) -> int:
    if isinstance(item, Document):
        return utf8_size(item.text)
    return utf8_size(item.document.text) if isinstance(item, Dropped) else len(item.value)


@dataclass(frozen=True)
class Shard:
    """Where a shard lies."""

    folder: Path
    name: str

    @classmethod
    def of_unit(cls, folder: Path, unit: int, number: int) -> Self:
        return cls(folder, f"{unit:06}-{number:05}")

    def path(self, end: str) -> Path:
        return self.folder / f"{self.name}{end}"

    def documents(self, part: str = "") -> Path:
        return self.path(f".{part}{SUFFIX}" if part else SUFFIX)

    def made(self) -> Made | None:
        """What the shard holds; None unless it is done."""
        try:
            made = Made.of_json(json.loads(self.path(MARKER).read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        digests = {self.documents(part): written.sha256 for part, written in made.written.items()}
        digests |= {self.path(end): digest for end, digest in made.sha256.items()}
        whole = all(path.is_file() and file_digest(path) == digest for path, digest in digests.items())
        return made if whole else None
