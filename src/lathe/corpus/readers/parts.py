"""Large files of lines that stand for themselves, cut so that processes can share them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from lathe.core.data.encodings import UnreadableError, detect, name
from lathe.core.data.source import BrokenStreamError, Range, content, ranges
from lathe.core.digest import printable
from lathe.corpus.protocol import Item, Noted
from lathe.corpus.readers.detect import detect_format
from lathe.corpus.readers.lines import SAMPLE_BYTES, TextLines
from lathe.corpus.readers.opened import Format, Opened, Options, open_file, peeked
from lathe.corpus.readers.tables import TEXT_COLUMNS, row_documents, text_column
from lathe.corpus.readers.text import text_documents


@dataclass(frozen=True)
class Part:
    """Some lines of a file, and what all its parts have to agree on."""

    extent: Range
    format: Format  # text or jsonl
    options: Options  # with the encoding that was found
    column: str | None  # of JSON lines: the one with the text
    encoding: str  # as it is called in the scores


def parts_of(path: Path, name: str, options: Options, size: int) -> list[Part]:
    """A file in parts of about ``size`` bytes; none where it has to be read from its beginning.

    Compressed files have to, tables with a header, texts in which a document has several lines, and UTF-16.
    """
    try:
        opened = open_file(path, name)
        format = detect_format(opened.head, name, options.format)
        codec = options.codec or _codec(opened.chunks)
        if opened.path is None or not _is_by_line(format, options) or (codec or "").startswith("utf-16"):
            return []
        column = text_column(open_file(path, name), options) if format == "jsonl" else None
    except (UnreadableError, BrokenStreamError):  # it is read from its beginning, and quarantined then
        return []
    found = replace(options, codec=codec or "utf-8")
    return [Part(extent, format, found, column, _encoding(codec)) for extent in ranges(path, size)]


def read_part(path: Path, name: str, part: Part) -> Iterator[Item]:
    """The documents of some lines: those, with all the rest, that ``read_file`` has of the whole file."""
    opened = Opened(name, printable(path), b"", content(path, extent=part.extent), path)
    lines = TextLines(opened.chunks, part.options.codec, part.extent.first - 1, part.extent.start)
    if part.format == "jsonl":
        items = row_documents(opened, lines, part.options, part.format, part.column)
    else:
        items = text_documents(opened, lines, part.options.cut)
    yield from (item for item in items if not isinstance(item, Noted))
    if part.extent.first == 1:
        yield Noted("encodings", part.encoding)
        if part.column is not None and part.options.text is None:
            yield Noted(TEXT_COLUMNS, part.column)


def _is_by_line(format: Format, options: Options) -> bool:
    return format == "jsonl" or (format == "text" and options.cut == "line")


def _codec(chunks: Iterator[bytes]) -> str | None:
    """Told from what follows the first byte beyond ASCII, as when the file is read in one."""
    tail = b""
    for chunk in chunks:
        if not chunk.isascii() or 0 in chunk:
            sample, _ = peeked(chain([tail + chunk], chunks), SAMPLE_BYTES)
            return detect(sample)
        tail = chunk[chunk.rfind(b"\n") + 1 :]
    return "utf-8"


def _encoding(codec: str | None) -> str:
    return name(codec) if codec else "unclear"
