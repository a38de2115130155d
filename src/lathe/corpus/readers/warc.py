"""Web archives: pages of WARC files (Common Crawl, CC-News), and the texts of WET files.

A damaged record is quarantined and reading goes on with the next one.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from lathe.core.data import RowError, checked_text
from lathe.core.data.encodings import UnreadableError, decode
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped, Item, Noted
from lathe.corpus.readers.body import shown
from lathe.corpus.readers.html import LARGEST_PAGE, page_items
from lathe.corpus.readers.opened import Buffer, Opened, Options

LARGEST_HEADER = 1 << 16  # bytes
BEGIN, BLANK, END = b"WARC/", b"\r\n\r\n", b"\r\n"
KINDS = ("warcinfo", "request", "metadata", "resource", "revisit", "continuation")  # that hold no page of their own
PAGES = ("text/html", "application/xhtml+xml", "")  # where a server says nothing, the body tells

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_HTTP_END = re.compile(rb"\r?\n\r?\n")
_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body|!--)", re.IGNORECASE)


class Entry(NamedTuple):
    number: int  # of the record in the file, from 1
    offset: int
    headers: dict[str, str]  # names in lower case
    block: bytes  # its beginning, where it is larger than a page may be
    is_cut: bool


class _BrokenRecordError(Exception):
    """What is wrong with a record, where it begins."""


def read_warc(opened: Opened, options: Options) -> Iterator[Item]:
    buffer = Buffer(opened.chunks)
    number = 0
    while _has_more(buffer):
        number, offset = number + 1, buffer.offset
        try:
            entry = _next(buffer, number)
        except _BrokenRecordError as error:
            buffer.skip_to(b"\n" + BEGIN)
            if buffer.broken is None:
                yield opened.bad(f"record {number}: {error}", "download the file again", number, offset)
            continue
        try:
            yield from _items(entry, f"{opened.name}:{number}", options)
        except UnreadableError as error:
            value = entry.headers.get("warc-target-uri", "")
            yield opened.bad(f"record {number}: {error.reason}", error.fix, number, offset, value)
    if buffer.broken is not None:
        buffer.broken.line, buffer.broken.offset = number, buffer.offset
        yield opened.broken(buffer.broken)


def _has_more(buffer: Buffer) -> bool:
    while (byte := buffer.peek(1)) and byte in END:
        buffer.skip(1)
    return bool(byte)


def _next(buffer: Buffer, number: int) -> Entry:
    """The record that begins here. Where it is broken, the buffer is left somewhere before the next one."""
    offset = buffer.offset
    if buffer.peek(len(BEGIN)) != BEGIN:
        raise _BrokenRecordError("no WARC header")
    end = buffer.find(BLANK, limit=LARGEST_HEADER)
    if end < 0:
        raise _BrokenRecordError("its header has no end")
    headers = _headers(buffer.take(end + len(BLANK)))
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise _BrokenRecordError(f"Content-Length is {length!r}, not a number of bytes")
    block = buffer.take(min(int(length), LARGEST_PAGE))
    lacking = int(length) - len(block)
    skipped = buffer.skip(lacking)
    following = buffer.peek(len(BLANK + BEGIN))
    ends = following.startswith(BLANK) or BEGIN.startswith(following.lstrip(END)[: len(BEGIN)])
    if skipped < lacking or not ends:
        if not skipped:
            buffer.put_back(block)  # the next records may be in it
        raise _BrokenRecordError("it does not end where Content-Length says")
    return Entry(number, offset, headers, block, int(length) > len(block))


def _items(entry: Entry, id: str, options: Options) -> Iterator[Item]:
    headers = entry.headers
    kind = headers.get("warc-type", "").lower()
    meta = {"url": headers.get("warc-target-uri", "").strip("<>"), "date": headers.get("warc-date", "")}
    meta = {key: value for key, value in meta.items() if value}
    if kind == "conversion":
        yield _converted(entry, id, meta)
    elif kind == "response" and headers.get("content-type", "").startswith("application/http"):
        yield from _response(entry, id, meta, options)
    else:
        what = f"a {kind} record" if kind in KINDS else "a record of another kind"
        yield Dropped(Document("", id, meta), what)


def _converted(entry: Entry, id: str, meta: dict[str, str]) -> Document | Dropped:
    """A text that Common Crawl has extracted; the first of the languages that it names is the main one."""
    _refuse_large(entry)
    text = decode(entry.block, "utf-8", entry.offset)
    if language := entry.headers.get("warc-identified-content-language", "").split(",")[0]:
        meta = meta | {"language": language}
    if not text.strip():
        return Dropped(Document("", id, meta), "no text")
    try:
        return Document(checked_text(text), id, meta)
    except RowError as error:
        raise UnreadableError(error.reason, error.fix) from None


def _response(entry: Entry, id: str, meta: dict[str, str], options: Options) -> Iterator[Item]:
    match = _HTTP_END.search(entry.block)
    head, body = (entry.block[: match.start()], entry.block[match.end() :]) if match else (entry.block, b"")
    status, headers = head.split(None, 2)[1:2], _headers(head)
    content_type = headers.get("content-type", "")
    if status != [b"200"]:
        yield Dropped(Document("", id, meta), "an HTTP status other than 200")
        return
    kind = content_type.partition(";")[0].strip().lower()
    if kind in PAGES and not entry.is_cut:
        body = shown(body, headers)
    if kind not in PAGES or not (kind or _PAGE.match(body)):
        yield Dropped(Document("", id, meta), "not a web page")
        return
    _refuse_large(entry)
    charset = _CHARSET.search(content_type)
    for item in page_items(body, id, {}, options, charset[1] if charset else None):
        yield item if isinstance(item, Noted) else _with(item, meta)


def _with(item: Item, meta: dict[str, str]) -> Item:
    """What the archive says of a page counts before what the page says of itself."""
    if isinstance(item, Document):
        return Document(item.text, item.id, dict(item.meta) | meta)
    if isinstance(item, Dropped):
        return Dropped(Document(item.document.text, item.document.id, dict(item.document.meta) | meta), item.reason)
    return item


def _refuse_large(entry: Entry) -> None:
    if entry.is_cut:
        raise UnreadableError(f"a page of more than {LARGEST_PAGE >> 20} MiB", "leave it out")


def _headers(raw: bytes) -> dict[str, str]:
    """Names in lower case; of two with one name the first counts."""
    found: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found
