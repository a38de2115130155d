"""Shards of a token folder: stretches of its files with a digest each.

A writer that was stopped goes on behind the last whole one, and damage has a place.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

SHARD_TOKENS = 2**22
"""Tokens from which on a shard is full; it ends with a document."""

IDS, LENGTHS, DOCUMENTS, MARKS, ORIGINS = "ids.bin", "lengths.bin", "documents.bin", "marks.bin", "origins.bin"
JOURNAL = "shards.jsonl"


class Amount(NamedTuple):
    documents: int = 0  # read, empty ones included
    empty: int = 0  # documents without a token: they have no row
    rows: int = 0
    short: int = 0  # rows with little text
    tokens: int = 0

    def plus(self, other: "Amount") -> "Amount":
        return Amount(*(a + b for a, b in zip(self, other, strict=True)))


class Shard(NamedTuple):
    amount: Amount
    texts: str  # sha256 of the sha256 of each text
    sha256: str  # of its stretches of the files, one after the other

    @classmethod
    def of_json(cls, values: list[Any]) -> Self:
        amount, texts, sha256 = values
        return cls(Amount(*amount), texts, sha256)


@dataclass(frozen=True)
class Files:
    """The files of a token folder."""

    folder: Path
    dtype: str  # of the ids
    is_marked: bool

    def sizes(self, amount: Amount) -> dict[str, int]:
        """Bytes in each file, in order."""
        plain = {IDS: amount.tokens * np.dtype(self.dtype).itemsize, LENGTHS: amount.rows * 4}
        plain[DOCUMENTS] = amount.documents * 4
        return plain | ({MARKS: amount.tokens, ORIGINS: amount.rows * 8} if self.is_marked else {})

    def digest(self, amount: Amount, starts: Mapping[str, int]) -> str:
        """SHA-256 of a shard of this amount that begins at these places."""
        sha = hashlib.sha256()
        for name, size in self.sizes(amount).items():
            file = self.folder / name
            if file.is_file():
                with file.open("rb") as stream:
                    stream.seek(starts[name])
                    sha.update(stream.read(size))
        return sha.hexdigest()

    def whole(self, shards: Iterable[Shard]) -> Iterator[Shard]:
        """The shards whose bytes are what they were written as, up to the first one whose bytes are not."""
        starts = Counter[str]()
        for shard in shards:
            if self.digest(shard.amount, starts) != shard.sha256:
                return
            starts.update(self.sizes(shard.amount))
            yield shard


class Writer:
    """Appends rows; those that an earlier writer, stopped before its end, has made of the same texts are kept.

    ``made_from`` is all that the rows depend on beside the texts, as JSON. ``texts`` are those still to be done.
    """

    def __init__(self, files: Files, texts: Iterable[str], made_from: Any) -> None:
        self._files, self._journal = files, files.folder / JOURNAL
        self._head = json.dumps(made_from, ensure_ascii=False)
        self.shards, rest = _repeated(iter(texts), files.whole(self._noted()))
        self._starts = Counter(files.sizes(self.done))
        self._here, self._digests = Amount(), deque[bytes]()
        self.texts = self._digested(rest)

    def __enter__(self) -> Self:
        lines = [self._head, *map(json.dumps, self.shards)]
        self._journal.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._stack, self._open = ExitStack(), list[BinaryIO]()
        for name in self._files.sizes(self._here):
            file = self._stack.enter_context((self._files.folder / name).open("ab"))
            file.truncate(self._starts[name])
            self._open.append(file)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None:
                self._end_shard()
        if kind is None:
            self._journal.unlink()

    @property
    def done(self) -> Amount:
        return reduce(Amount.plus, (shard.amount for shard in self.shards), Amount())

    @property
    def sha256(self) -> str:
        """Digest of the digests of the shards."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    def append(self, amount: Amount, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Rows of the next documents: for each file, in order, what goes there."""
        for file, array in zip(self._open, arrays, strict=True):
            file.write(array.data)
        self._here = self._here.plus(amount)
        if self._here.tokens >= SHARD_TOKENS:
            self._end_shard()

    def _end_shard(self) -> None:
        if not self._here.documents:
            return
        for file in self._open:
            file.flush()
        texts = hashlib.sha256(b"".join(self._digests.popleft() for _ in range(self._here.documents))).hexdigest()
        shard = Shard(self._here, texts, self._files.digest(self._here, self._starts))
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(shard) + "\n")
        self.shards.append(shard)
        self._starts.update(self._files.sizes(self._here))
        self._here = Amount()

    def _digested(self, texts: Iterator[str]) -> Iterator[str]:
        for text in texts:
            self._digests.append(_digest(text))
            yield text

    def _noted(self) -> Iterator[Shard]:
        """What the journal of a writer that made the same has."""
        lines = self._journal.read_text(encoding="utf-8").splitlines() if self._journal.is_file() else []
        for line in lines[1:] if lines[:1] == [self._head] else []:
            try:
                yield Shard.of_json(json.loads(line))
            except (ValueError, TypeError):  # cut off by a kill
                return


def _repeated(texts: Iterator[str], shards: Iterable[Shard]) -> tuple[list[Shard], Iterator[str]]:
    """The shards that the texts begin with, and the texts behind these."""
    found: list[Shard] = []
    for shard in shards:
        held = list(islice(texts, shard.amount.documents))
        if len(held) < shard.amount.documents or _digest_of(held) != shard.texts:
            return found, chain(held, texts)
        found.append(shard)
    return found, texts


def _digest_of(texts: Iterable[str]) -> str:
    return hashlib.sha256(b"".join(map(_digest, texts))).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
