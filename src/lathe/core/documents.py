"""Documents on disk: JSON lines compressed with Zstandard, one document a line, whole or absent.

And as they come from a user's own files: whatever has a text in it.
"""

import hashlib
import json
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
CHUNK = 2**16  # bytes compressed or decompressed at once: bounds the memory that a crafted file can ask for


class Written(NamedTuple):
    documents: int
    characters: int
    bytes: int  # of the texts as UTF-8
    sha256: str  # of the file


class DocumentWriter:
    """Appends documents to a file that gets its name only when it is complete; ``written`` then tells what it holds.

    >>> with DocumentWriter(path) as writer:    # doctest: +SKIP
    ...     writer.write(Document("Some text.", "a"))
    """

    written: Written

    def __init__(self, path: Path, level: int = 3) -> None:
        self.path, self._level = path, level
        self._part = path.with_name(f".{path.name}.part")
        self._documents = self._characters = self._bytes = self._waiting_bytes = 0
        self._waiting: list[bytes] = []

    def __enter__(self) -> "DocumentWriter":
        self._file, self._sha = self._part.open("wb"), hashlib.sha256()
        self._compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True).compressobj()
        return self

    def write(self, document: Document) -> None:
        values: dict[str, Any] = {"text": document.text, "id": document.id}
        line = _json(values | ({"meta": document.meta} if document.meta else {}))
        self._append(f"{line}\n".encode())
        self._documents += 1
        self._characters += len(document.text)
        self._bytes += utf8_size(document.text)

    def write_file(self, file: Path, written: Written) -> None:
        """All documents of another file, of which it is known what they are."""
        for chunk in _content(file):
            self._append(chunk)
        self._documents += written.documents
        self._characters += written.characters
        self._bytes += written.bytes

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._flush()
                self._put(self._compressor.flush())
        if kind is None:
            self._part.replace(self.path)
            self.written = Written(self._documents, self._characters, self._bytes, self._sha.hexdigest())
        else:
            self._part.unlink()

    def _append(self, data: bytes) -> None:
        """Short lines are compressed together: each call costs as much as a hundred bytes."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._put(self._compressor.compress(b"".join(self._waiting)))
        self._waiting, self._waiting_bytes = [], 0

    def _put(self, data: bytes) -> None:
        self._sha.update(data)
        self._file.write(data)


def write_documents(path: Path, documents: Iterable[Document], level: int = 3) -> Written:
    with DocumentWriter(path, level) as writer:
        for document in documents:
            writer.write(document)
    return writer.written


def utf8_size(text: str) -> int:
    """Bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


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
    yield from rows_as_documents(file, read_rows(file), text, meta)


def rows_as_documents(
    file: Path, rows: Iterable[Record | Bad], text: str | None = None, meta: str | None = None
) -> Iterator[Document | Bad]:
    """The same for rows that are being read."""
    found: Found | None = None
    for record in rows:
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


def text_column(file: Path, rows: Iterable[Record | Bad]) -> str | None:
    """The column that the first good row has its text in."""
    first = next((record for record in rows if isinstance(record, Record)), None)
    return _find_columns(file, first, None)[1]["text"] if first else None


def _find_columns(file: Path, record: Record, text: str | None) -> Found:
    try:
        return find_columns(tuple(record.row), TEXT, Columns(text=text))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _lines(file: Path) -> Iterator[bytes]:
    rest = b""
    for chunk in _content(file):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        raise DataError(f"{file}: ends early; make the corpus again")


def _content(file: Path) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            try:
                yield decompressor.decompress(chunk)
            except zstandard.ZstdError as error:
                raise DataError(f"{file}: damaged ({error}); make the corpus again") from None
    if not decompressor.eof:
        raise DataError(f"{file}: ends early; make the corpus again")


_json = json.JSONEncoder(ensure_ascii=False).encode
