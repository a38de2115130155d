"""A team's own files as a source of documents."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from lathe.core.data import Bad, Record, read_rows
from lathe.core.data.source import find_source
from lathe.core.digest import files_below
from lathe.core.documents import read_rows_as_documents
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.types import Document

Unit: TypeAlias = Literal["line", "paragraph", "file"]


@recipe
class Files:
    """Text, JSON lines, CSV, TSV or Parquet files, plain or compressed, or folders of them."""

    kind: Literal["files"] = "files"
    paths: tuple[Path, ...] = Field(min_length=1)
    """Files, and folders whose files are all taken."""
    text: str | None = None
    """Column that holds the text; found by its name or content where not given."""
    group: str | None = None
    """Column (author, site, ...) whose equal values stay on one side of the split; each document by itself if none."""
    unit: Unit = "line"
    """What is one document in a plain text file: a line, a paragraph (lines up to an empty one), or the whole file."""

    def inputs(self) -> list[Path]:
        return list(self.paths)

    def states(self) -> dict[str, str]:
        return {}

    def read(self, cache: Path, processes: int) -> Iterator[Document | Bad]:
        for file in self._files():
            is_text = find_source(file).format == "text"
            rows = read_rows_as_documents(file, self.text, self.group)
            yield from _text_documents(file, self.unit) if is_text else rows

    def group_of(self, document: Document) -> str:
        return str(document.meta.get(self.group, document.id)) if self.group else document.id

    def _files(self) -> list[Path]:
        missing = [path for path in self.paths if not path.exists()]
        if missing:
            raise DataError(f"{missing[0]}: no such file or folder (source.paths)")
        found = [file for path in self.paths for file in (files_below(path) if path.is_dir() else [path])]
        return [file for file in dict.fromkeys(found) if not file.name.startswith(".")]


def _text_documents(file: Path, unit: Unit) -> Iterator[Document | Bad]:
    waiting: list[Record] = []
    for record in read_rows(file):
        if isinstance(record, Bad):
            yield record
            continue
        if waiting and _begins(record, waiting[-1], unit):
            yield _joined(file, waiting)
            waiting = []
        waiting.append(record)
    if waiting:
        yield _joined(file, waiting)


def _begins(record: Record, last: Record, unit: Unit) -> bool:
    """Whether a line begins a document; lines of white space only are no records, so a gap ends a paragraph."""
    return unit == "line" or (unit == "paragraph" and record.line > last.line + 1)


def _joined(file: Path, records: list[Record]) -> Document:
    return Document("\n".join(record.row["text"] for record in records), f"{file.name}:{records[0].line}")
