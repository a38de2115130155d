"""Plain text: a line, a paragraph, a run of sentences or the whole file is a document. Markdown: the whole file is."""

import re
from collections.abc import Iterator
from pathlib import Path

from lathe.core.data import Bad, RowError, checked_text
from lathe.core.data.encodings import UnreadableError, decode, detect, name
from lathe.core.data.records import Record, rows
from lathe.core.data.source import BrokenStreamError, Source
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped, Item, Noted
from lathe.corpus.readers.detect import unclear
from lathe.corpus.readers.lines import TextLines
from lathe.corpus.readers.opened import Cut, Opened, Options

LONGEST_DOCUMENT = 1 << 26  # bytes, or characters that were joined
SENTENCES = 512  # at most in a document of sentences: some ten thousand words

_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\n(.*?\n)?(---|\.\.\.)[ \t]*(\n|$)", re.DOTALL)
_FIELD = re.compile(r"^(title|date|lang|language|url)[ \t]*:[ \t]*(.+?)[ \t]*$", re.MULTILINE)


def read_text(opened: Opened, options: Options) -> Iterator[Item]:
    """Lines of white space only are no documents; they end a paragraph."""
    yield from text_documents(opened, TextLines(opened.chunks, options.codec), options.cut)


def text_documents(opened: Opened, lines: TextLines, cut: Cut) -> Iterator[Item]:
    """The documents of numbered lines, and how they were encoded; a break in the stream comes after the last."""
    records = (_checked_line(opened, one) for one in rows(Source(Path(opened.file), "text", None), iter(lines)))
    try:
        yield from _each(opened, records) if cut == "line" else _joined(opened, records, cut)
    except BrokenStreamError as error:
        yield opened.broken(error)
    yield Noted("encodings", lines.encoding)


def _checked_line(opened: Opened, record: Record | Bad) -> Record | Bad:
    if isinstance(record, Record) and "\0" in record.row["text"]:
        return RowError(None, record.row["text"], "a NUL character", "delete it").at(opened.file, record[0], record[2])
    return record


def _each(opened: Opened, records: Iterator[Record | Bad]) -> Iterator[Document | Bad]:
    for record in records:
        yield record if isinstance(record, Bad) else Document(record.row["text"], f"{opened.name}:{record.line}")


def _joined(opened: Opened, records: Iterator[Record | Bad], cut: Cut) -> Iterator[Document | Bad]:
    """Documents of several lines. One that is too long is not held: only its first line and its last."""
    waiting: list[Record] = []
    size = 0
    for record in records:
        if isinstance(record, Bad):
            yield record
            continue
        if waiting and _begins(record, waiting, cut):
            yield _document(opened, waiting, size)
            waiting, size = [], 0
        size += len(record.row["text"]) + 1
        waiting[1 if size > LONGEST_DOCUMENT else len(waiting) :] = [record]
    if waiting:
        yield _document(opened, waiting, size)


def _begins(record: Record, waiting: list[Record], cut: Cut) -> bool:
    """Whether a line begins a document; lines of white space only are no records, so a gap ends a paragraph."""
    return cut != "file" and (record.line > waiting[-1].line + 1 or (cut == "sentences" and len(waiting) >= SENTENCES))


def _document(opened: Opened, records: list[Record], size: int) -> Document | Bad:
    first = records[0]
    if size > LONGEST_DOCUMENT:
        reason = f"a document of more than {LONGEST_DOCUMENT >> 20} Mi characters"
        return opened.bad(reason, "cut the text at lines or paragraphs", first.line, first.offset)
    return Document("\n".join(record.row["text"] for record in records), f"{opened.name}:{first.line}")


def whole_text(opened: Opened, codec: str | None) -> tuple[str, str]:
    """The text of a file that is one document, and the name of its encoding.

    Raises ``UnreadableError`` and ``BrokenStreamError``.
    """
    raw = bytearray()
    for chunk in opened.chunks:
        raw += chunk
        if len(raw) > LONGEST_DOCUMENT:
            raise UnreadableError(f"a document of more than {LONGEST_DOCUMENT >> 20} MiB", "cut it")
    codec = codec or detect(bytes(raw))
    if codec is None:
        raise UnreadableError("not UTF-8, and which encoding it is in is not clear", unclear(bytes(raw)))
    text = decode(bytes(raw), codec).removeprefix("\ufeff")
    return text.replace("\r\n", "\n"), name(codec)


def read_markdown(opened: Opened, options: Options) -> Iterator[Item]:
    """The text as it is written, without its front matter, of which title, date, language and address are kept."""
    text, encoding = whole_text(opened, options.codec)
    yield Noted("encodings", encoding)
    match = _FRONT_MATTER.match(text)
    fields = _FIELD.findall(match[1] or "") if match else []
    meta = {{"lang": "language"}.get(key, key): value.strip("\"'") for key, value in fields}
    body = text[match.end() :] if match else text
    if not body.strip():
        yield Dropped(Document("", opened.name, meta), "front matter only")
        return
    yield Document(_checked(body), opened.name, meta)


def _checked(text: str) -> str:
    try:
        return checked_text(text)
    except RowError as error:
        raise UnreadableError(error.reason, error.fix) from None
