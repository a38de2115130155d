"""Rows of JSON lines, CSV, TSV and Parquet files as documents: one column is the text, a few others are kept."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lathe.core.data import TEXT, Bad, Columns, Record, RowError, Shape, find_columns, read_row
from lathe.core.data.encodings import UnreadableError
from lathe.core.data.parquet import parquet_rows
from lathe.core.data.records import rows
from lathe.core.data.source import BrokenStreamError, Source
from lathe.core.errors import DataError, did_you_mean
from lathe.core.types import Document
from lathe.corpus.protocol import Item, Noted
from lathe.corpus.readers.lines import TextLines
from lathe.corpus.readers.opened import Format, Opened, Options, raising

META = {"url": "url", "title": "title", "date": "date", "timestamp": "date", "language": "language", "lang": "language"}
"""Columns that are kept, and what they are called in a corpus."""

TEXT_COLUMNS = "text columns"
"""What is noted of each table: which of its columns was taken for the text."""

LOOK_AHEAD, LOOK_AHEAD_BYTES = 1000, 1 << 22
"""Rows, and bytes of them, whose keys make up the columns of a JSONL file."""


def read_table(opened: Opened, options: Options, format: Format) -> Iterator[Item]:
    yield from row_documents(opened, TextLines(opened.chunks, options.codec), options, format)


def row_documents(
    opened: Opened, lines: TextLines, options: Options, format: Format, column: str | None = None
) -> Iterator[Item]:
    """The documents of numbered lines, and how they were encoded; a break in the stream comes after the last."""
    try:
        yield from _documents(opened, _rows(opened, lines, format), options, column)
    except BrokenStreamError as error:
        yield opened.broken(error)
    yield Noted("encodings", lines.encoding)


def read_parquet(opened: Opened, options: Options) -> Iterator[Item]:
    if opened.path is None:
        yield opened.bad("Parquet that is compressed or in an archive", "unpack it: Parquet is read from both ends")
        return
    try:
        yield from _documents(opened, _parquet_records(opened.path), options)
    except BrokenStreamError as error:
        yield opened.broken(error)


def text_column(opened: Opened, options: Options) -> str | None:
    """The column of a JSONL file that has the text; None where no row says."""
    head, _ = _look_ahead(_rows(opened, TextLines(opened.chunks, options.codec), "jsonl"))
    names = _names(head)
    return _find_columns(opened, names, options)[1]["text"] if names else None


def _rows(opened: Opened, lines: TextLines, format: Format) -> Iterator[Record | Bad]:
    """Raises ``UnreadableError`` for what makes the whole file unusable, such as a header that names a column twice."""
    try:
        yield from rows(Source(Path(opened.file), format, None), iter(lines))
    except DataError as error:
        reason, _, fix = str(error).removeprefix(f"{opened.file}: ").partition("; ")
        raise UnreadableError(reason, fix) from None


def _parquet_records(path: Path) -> Iterator[Record]:
    number = 0
    try:
        for number, row in parquet_rows(path):
            yield Record(number, row)
    except DataError as error:
        broken = BrokenStreamError(str(error).removeprefix(f"{path}: "))
        broken.line = number + 1
        raise broken from None


def _documents(
    opened: Opened, records: Iterator[Record | Bad], options: Options, column: str | None = None
) -> Iterator[Item]:
    """``column`` has the text, where that is known; it is found in the first rows otherwise, and told."""
    head: list[Record | Bad] = []
    columns: tuple[Shape, dict[str, str]] | None = (TEXT[0], {"text": column}) if column is not None else None
    if columns is None:
        head, records = _look_ahead(records)
        names = _names(head)
        columns = _find_columns(opened, names, options) if names else None
        if columns is not None and options.text is None:
            yield Noted(TEXT_COLUMNS, columns[1]["text"])
    for record in chain(head, records):
        if isinstance(record, Bad) or columns is None:
            yield record if isinstance(record, Bad) else _empty(opened, record)
            continue
        try:
            yield _document(opened, record, columns, options)
        except RowError as error:
            yield error.at(opened.file, record.line, record.offset)


def _look_ahead(records: Iterator[Record | Bad]) -> tuple[list[Record | Bad], Iterator[Record | Bad]]:
    """As many records as it takes to know the columns, and those behind them, where a break comes in its place."""
    head: list[Record | Bad] = []
    try:
        for record in records:
            head.append(record)
            if len(head) == LOOK_AHEAD or record.offset - head[0].offset > LOOK_AHEAD_BYTES:
                break
    except BrokenStreamError as error:
        records = raising(error)
    return head, records


def _names(records: list[Record | Bad]) -> list[str]:
    return list(dict.fromkeys(name for record in records if isinstance(record, Record) for name in record.row))


def _find_columns(opened: Opened, names: list[str], options: Options) -> tuple[Shape, dict[str, str]]:
    """A column that the user named has to be there; where he named none, a file without a text is no file of texts."""
    if options.group is not None and options.group not in names:
        known = f"its columns are {', '.join(map(repr, names))}{did_you_mean(options.group, names)}"
        raise DataError(f"{opened.file}: no column {options.group!r} (source.group); {known}")
    try:
        return find_columns(names, TEXT, Columns(text=options.text))
    except DataError as error:
        found = str(error).replace("data.columns.text", "source.text")
        if options.text is not None:
            raise DataError(f"{opened.file}: {found}") from None
        reason, _, fix = found.rpartition("; ")
        raise UnreadableError(reason, fix) from None


def _empty(opened: Opened, record: Record) -> Bad:
    return opened.bad("an object without keys", "delete it", record.line, record.offset)


def _document(opened: Opened, record: Record, columns: tuple[Shape, dict[str, str]], options: Options) -> Document:
    shape, roles = columns
    row, _ = read_row(record.row, shape, roles)
    return Document(row["text"], f"{opened.name}:{record.line}", _meta(record.row, roles["text"], options.group))


def _meta(row: dict[str, Any], text: str, group: str | None) -> dict[str, str]:
    kept = {
        META[key]: str(row[key]) for key in META if key != text and isinstance(row.get(key), str | int) and row[key]
    }
    return kept | ({group: str(row[group])} if group is not None and row.get(group) is not None else {})
