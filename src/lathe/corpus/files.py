"""A team's own files as a source of documents."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from lathe.core.data import Bad, Record
from lathe.core.data.records import read_source
from lathe.core.data.source import find_source, ranges
from lathe.core.digest import files_below
from lathe.core.documents import rows_as_documents, text_column
from lathe.core.errors import DataError, did_you_mean
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Unit

UNIT_BYTES = 2**26
"""What one process reads at a time: large files are cut to it, small ones put together."""

_PATTERN = re.compile(r"[*?[]")

TextUnit: TypeAlias = Literal["line", "paragraph", "file"]


@recipe
class Files:
    """Text, JSON lines, CSV, TSV or Parquet files, plain or compressed, or folders of them."""

    kind: Literal["files"] = "files"
    paths: tuple[Path, ...] = Field(min_length=1)
    """Files, folders whose files are all taken, and patterns such as "texts/*.jsonl" or "**/*.txt"."""
    text: str | None = None
    """Column that holds the text; found by its name or content where not given."""
    group: str | None = None
    """Column (author, site, ...) whose equal values stay on one side of the split; each document by itself if none."""
    unit: TextUnit = "line"
    """What is one document in a plain text file: a line, a paragraph (lines up to an empty one), or the whole file."""

    def inputs(self) -> list[Path]:
        return [found for path in self.paths for found in _expanded(path)]

    def states(self) -> dict[str, str]:
        return {}

    def units(self) -> list["Ranges"]:
        files = [file for path in self.inputs() for file in (_files_in(path) if path.is_dir() else [path])]
        pieces = [piece for file in dict.fromkeys(files) for piece in self._cut(file)]
        return [Ranges(_name(found), sum(r.size for r in found), found) for found in _together(pieces)]

    def read(self, unit: "Ranges") -> Iterator[Document | Bad]:
        for found in unit.ranges:
            whole = find_source(found.path)
            source = whole._replace(start=found.start, stop=found.stop, first=found.first)
            is_text, rows = source.format == "text", read_source(source)
            text = self.text or found.column
            yield from (
                _text_documents(found.path, rows, self.unit)
                if is_text
                else rows_as_documents(found.path, rows, text, self.group)
            )

    def group_of(self, document: Document) -> str:
        return str(document.meta.get(self.group, document.id)) if self.group else document.id

    def _cut(self, file: Path) -> list["Range"]:
        """A large file of lines that stand for themselves is read in parts."""
        source, size = find_source(file), file.stat().st_size
        by_line = source.format == "jsonl" or (source.format == "text" and self.unit == "line")
        if source.compression or not by_line or size <= UNIT_BYTES:
            return [Range(file, size)]
        column = None if source.format == "text" else self.text or text_column(file, read_source(source))
        parts = ranges(source, UNIT_BYTES)
        return [Range(file, (p.stop or size) - p.start, p.start, p.stop, p.first, column) for p in parts]


@dataclass(frozen=True)
class Range:
    """Lines of a file, all of them if ``stop`` is not given."""

    path: Path
    size: int
    start: int = 0
    stop: int | None = None
    first: int = 1  # number of the first line
    column: str | None = None  # that has the text; all parts of a file agree on it


@dataclass(frozen=True)
class Ranges(Unit):
    """What one process reads: part of a large file, or some small ones."""

    ranges: tuple[Range, ...]


def _expanded(path: Path) -> list[Path]:
    """A path itself, or what a pattern stands for."""
    if path.exists():
        return [path]
    if not _PATTERN.search(str(path)):
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file or folder (source.paths){did_you_mean(path.name, siblings)}")
    found = [Path(name) for name in sorted(glob(str(path), recursive=True)) if not Path(name).name.startswith(".")]
    if not found:
        raise DataError(f"{path}: this pattern matches no file (source.paths); it is taken from {Path.cwd()}")
    return found


def _files_in(folder: Path) -> list[Path]:
    found = [file for file in files_below(folder) if not file.name.startswith(".")]
    if not found:
        raise DataError(f"{folder}: there is no file in this folder (source.paths); hidden ones are not read")
    return found


def _together(pieces: Iterable[Range]) -> Iterator[tuple[Range, ...]]:
    """Neighbours, as many as make up a unit."""
    waiting = list[Range]()
    for found in pieces:
        if waiting and sum(r.size for r in waiting) + found.size > UNIT_BYTES:
            yield tuple(waiting)
            waiting = []
        waiting.append(found)
    yield tuple(waiting)


def _name(ranges: tuple[Range, ...]) -> str:
    first, last = ranges[0], ranges[-1]
    return f"{first.path}:{first.first}" + (f" to {last.path}" if last is not first else "")


def _text_documents(file: Path, rows: Iterable[Record | Bad], unit: TextUnit) -> Iterator[Document | Bad]:
    waiting: list[Record] = []
    for record in rows:
        if isinstance(record, Bad):
            yield record
            continue
        if waiting and _begins(record, waiting[-1], unit):
            yield _joined(file, waiting)
            waiting = []
        waiting.append(record)
    if waiting:
        yield _joined(file, waiting)


def _begins(record: Record, last: Record, unit: TextUnit) -> bool:
    """Whether a line begins a document; lines of white space only are no records, so a gap ends a paragraph."""
    return unit == "line" or (unit == "paragraph" and record.line > last.line + 1)


def _joined(file: Path, records: list[Record]) -> Document:
    return Document("\n".join(record.row["text"] for record in records), f"{file.name}:{records[0].line}")
