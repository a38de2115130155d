"""A file of rows in, the same rows with an answer each out: in order, whole or not at all, with flat memory."""

import json
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from lathe.core.data import Bad, Columns, Record, RowError, Shape, find_columns, read_row, read_rows
from lathe.core.data.records import read_source
from lathe.core.data.source import Source
from lathe.core.errors import BundleError, DataError, Stopped
from lathe.core.report import progress, say
from lathe.core.runtime import stop_flag

CHUNK_ROWS = 512  # asked at a time
CHUNKS_AHEAD = 1  # asked while others are being answered
LOOK_AHEAD = 1000  # rows whose keys make up the columns
STDIN = Path("/dev/stdin")

Answers = Callable[[], Sequence[Any]]
"""Waits for one JSON value for each row that was asked; a ``RowError`` in its place sends the row to quarantine."""

Ask = Callable[[list[dict[str, Any]]], Answers]
"""Begins with the answers to some rows; the next rows are asked while these are being answered."""


@dataclass
class Tally:
    """What became of the rows: answered + quarantined = read."""

    answered: int = 0
    quarantined: int = 0
    rate: float = 0.0  # rows a second
    first: list[Bad] = field(default_factory=list)


class Reader(NamedTuple):
    """Rows of a file, where their values stand, and the name that their answer gets."""

    path: Path
    records: Iterable[Record | Bad]
    shape: Shape
    columns: Mapping[str, str]
    answer: str

    def read(self, record: Record) -> dict[str, Any]:
        """The row under the names that its shape knows. Raises ``RowError``."""
        if self.answer in record.row:
            value = record.row[self.answer]
            raise RowError(self.answer, value, "this column is in the way of the answer", "rename it")
        return read_row(record.row, self.shape, self.columns)[0]


def refuse_place(place: Path | None) -> None:
    """A file that cannot be made is refused before anything is read."""
    if place is not None and place.exists():
        raise BundleError(f"{place}: exists; choose another name, or delete it")
    if place is not None and not place.parent.is_dir():
        raise BundleError(f"{place}: there is no folder {place.parent}; make it first, or choose another name")


def quarantine_of(given: Path | None, out: Path | None) -> Path | None:
    """Where bad rows go: the file that is named, or one beside the answers, or (None) standard error."""
    return given or (out and out.with_name(f"{out.name}.quarantine.jsonl"))


def open_rows(
    file: Path, stdin: Literal["jsonl", "text"], shapes: tuple[Shape, ...], columns: Columns, answer: str
) -> Reader:
    """Look at a file, or at standard input where it is called ``-``. Raises ``DataError`` where no row fits."""
    is_stdin = str(file) == "-"
    path = STDIN if is_stdin else file
    records = read_source(Source(path, stdin, None)) if is_stdin else read_rows(path)
    head = list(islice(records, LOOK_AHEAD))
    names = list(dict.fromkeys(name for record in head if isinstance(record, Record) for name in record.row))
    if not names:
        bad = [record for record in head if isinstance(record, Bad)]
        _refuse(path, Tally(quarantined=len(bad), first=bad[:3]))
    try:
        shape, found = find_columns([name for name in names if name != answer], shapes, columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return Reader(path, chain(head, records), shape, found, answer)


class _Asked(NamedTuple):
    """Rows that are being answered."""

    records: list[Record]
    answers: Answers
    read: int  # how many there were, with those that could not be


def answer_rows(reader: Reader, ask: Ask, out: Path | None, quarantine: Path | None, label: str) -> Tally:
    """Answer every row; ``out`` is a JSONL file, or nothing for standard output."""
    tally = Tally()
    with ExitStack() as stack:
        answers = stack.enter_context(whole_file(out)) if out else sys.stdout
        reject = stack.enter_context(_rejects(quarantine))
        stop, meter = stack.enter_context(stop_flag()), stack.enter_context(progress(label))
        for asked in _ahead(_asked(chunk, reader, ask, tally, reject) for chunk in _chunks(reader.records)):
            answers.writelines(_told(asked, reader, tally, reject))
            meter.advance(asked.read)
            if stop.signum:
                raise Stopped(f"stopped after {meter.done:,} rows; {out or 'the rest'} is not written", stop.signum)
        if not tally.answered:
            _refuse(reader.path, tally)
    tally.rate = meter.rate
    return tally


def json_line(row: Mapping[str, Any]) -> str:
    """One line of JSON; dates and the like, which only Parquet holds, become strings, and NaN becomes null."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, default=str) + "\n"


def _asked(chunk: list[Record | Bad], reader: Reader, ask: Ask, tally: Tally, reject: Callable[[Bad], None]) -> _Asked:
    """Begin with the answers to some records; those that cannot be read are rejected."""
    kept: list[Record] = []
    rows: list[dict[str, Any]] = []
    for record in chunk:
        if isinstance(record, Bad):
            _drop(record, tally, reject)
            continue
        try:
            rows.append(reader.read(record))
            kept.append(record)
        except RowError as error:
            _drop(error.at(reader.path, record.line), tally, reject)
    return _Asked(kept, ask(rows), len(chunk))


def _told(asked: _Asked, reader: Reader, tally: Tally, reject: Callable[[Bad], None]) -> Iterator[str]:
    """The lines of the output for some records; those that cannot be answered are rejected."""
    for record, value in zip(asked.records, asked.answers(), strict=True):
        if isinstance(value, RowError):
            _drop(value.at(reader.path, record.line), tally, reject)
        else:
            tally.answered += 1
            yield json_line(record.row | {reader.answer: value})


def _drop(bad: Bad, tally: Tally, reject: Callable[[Bad], None]) -> None:
    reject(bad)
    tally.quarantined += 1
    tally.first = (tally.first + [bad])[:3]


def _ahead(chunks: Iterator[_Asked]) -> Iterator[_Asked]:
    """The same, each after the next ones have been asked."""
    waiting: deque[_Asked] = deque()
    for chunk in chunks:
        waiting.append(chunk)
        if len(waiting) > CHUNKS_AHEAD:
            yield waiting.popleft()
    yield from waiting


def _refuse(path: Path, tally: Tally) -> None:
    if not tally.quarantined:
        raise DataError(f"{path}: holds no rows")
    first = "\n  ".join(map(str, tally.first))
    raise DataError(f"{path}: none of its {tally.quarantined:,} rows can be used:\n  {first}")


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that has its name only once it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Bad], None]]:
    """What takes a bad row: a file that is made for the first one, or standard error where there is no file."""
    if path is None:
        yield lambda bad: say(str(bad))
        return
    with ExitStack() as stack:
        opened: list[TextIO] = []

        def reject(bad: Bad) -> None:
            if not opened:
                opened.append(stack.enter_context(whole_file(path)))
            opened[0].write(json_line(asdict(bad)))

        yield reject


def _chunks(records: Iterable[Record | Bad]) -> Iterator[list[Record | Bad]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
