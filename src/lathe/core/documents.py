"""Documents on disk: JSON lines compressed with Zstandard, one document a line, whole or absent.

And as they come from a user's own files: whatever has a text in it.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import zstandard

from lathe.core.bundle import Bundle
from lathe.core.data import TEXT, Bad, Columns, Record, RowError, Shape, find_columns, read_row, read_rows
from lathe.core.errors import BundleError, DataError
from lathe.core.report import say
from lathe.core.types import Document

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SUFFIX = ".jsonl.zst"
Found: TypeAlias = tuple[Shape, dict[str, str]]
CHUNK = 2**16  # compressed bytes read at once: bounds the memory that a crafted file can ask for


class Written(NamedTuple):
    documents: int
    characters: int
    bytes: int  # of the texts as UTF-8


class DocumentWriter:
    """Appends documents to a file that gets its name only when it is complete.

    >>> with DocumentWriter(path) as writer:    # doctest: +SKIP
    ...     writer.write(Document("Some text.", "a"))
    """

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, Written(0, 0, 0)
        self._part = path.with_name(f".{path.name}.part")

    def __enter__(self) -> "DocumentWriter":
        self._file = self._part.open("wb")
        self._stream = zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(self._file, closefd=False)
        return self

    def write(self, document: Document) -> None:
        text = document.text.encode("utf-8")
        values: dict[str, Any] = {"text": document.text, "id": document.id}
        line = json.dumps(values | ({"meta": document.meta} if document.meta else {}), ensure_ascii=False)
        self._stream.write(line.encode("utf-8") + b"\n")
        documents, characters, size = self.written
        self.written = Written(documents + 1, characters + len(document.text), size + len(text))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stream.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink()


def write_documents(path: Path, documents: Iterable[Document]) -> Written:
    with DocumentWriter(path) as writer:
        for document in documents:
            writer.write(document)
    return writer.written


def read_texts(path: Path, split: Split = "train") -> Iterator[str]:
    """The texts of a corpus bundle's split, or of any file that the user has (which has no splits: all of it).

    Rows of a file that cannot be read are passed over, counted, and named at the end.
    """
    if path.is_dir():
        yield from (document.text for document in read_documents(path, split))
        return
    bad: list[Bad] = []
    for item in read_rows_as_documents(path):
        if isinstance(item, Bad):
            bad.append(item)
        else:
            yield item.text
    if bad:
        say(f"{path}: {len(bad):,} rows could not be read and are left out; the first: {bad[0]}")


def splits_of(path: Path) -> tuple[Split, ...]:
    """The splits of a corpus bundle that hold documents."""
    Bundle.open(path, "corpus")
    return tuple(split for split in SPLITS if (path / f"{split}{SUFFIX}").is_file())


def read_documents(path: Path, split: Split = "train") -> Iterator[Document]:
    """The documents of one split of a corpus bundle, in order."""
    if split not in splits_of(path):
        raise BundleError(f"{path}: this corpus has no {split} split; make it again with split.{split} above 0")
    yield from read_document_file(path / f"{split}{SUFFIX}")


def read_document_file(file: Path) -> Iterator[Document]:
    """The documents of one file. Raises ``DataError`` when it ends early or is damaged."""
    for number, line in enumerate(_lines(file), 1):
        try:
            values = json.loads(line)
            yield Document(values["text"], values["id"], values.get("meta", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}:{number}: not a document ({error!r}); make the corpus again") from None


def read_rows_as_documents(file: Path, text: str | None = None, meta: str | None = None) -> Iterator[Document | Bad]:
    """Each row of a text, JSON lines, CSV, TSV or Parquet file as a document named by its line.

    ``text`` and ``meta`` are columns: the one with the text (found where not given), and one that is kept beside it.
    """
    found: Found | None = None
    for record in read_rows(file):
        if isinstance(record, Bad):
            yield record
            continue
        found = found or _find_columns(file, record, text)
        try:
            row, _ = read_row(record.row, *found)
        except RowError as error:
            yield error.at(file, record.line)
            continue
        kept = {meta: str(record.row[meta])} if meta in record.row else {}
        yield Document(row["text"], f"{file.name}:{record.line}", kept)


def _find_columns(file: Path, record: Record, text: str | None) -> Found:
    try:
        return find_columns(tuple(record.row), TEXT, Columns(text=text))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _lines(file: Path) -> Iterator[bytes]:
    decompressor, rest = zstandard.ZstdDecompressor().decompressobj(), b""
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            try:
                *lines, rest = (rest + decompressor.decompress(chunk)).split(b"\n")
            except zstandard.ZstdError as error:
                raise DataError(f"{file}: damaged ({error}); make the corpus again") from None
            yield from lines
    if not decompressor.eof or rest:
        raise DataError(f"{file}: ends early; make the corpus again")
