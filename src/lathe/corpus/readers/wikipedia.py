"""Wikipedia's XML dumps: each page is cut out of the stream and parsed alone, so that a broken one costs no other.

A page by itself has no document type: an entity that a hostile dump declares is unknown in it, and never expands.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from lathe.core.data import Bad
from lathe.core.data.encodings import UnreadableError
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped, Item
from lathe.corpus.readers.opened import Buffer, Opened
from lathe.corpus.readers.wikitext import Namespaces, plain_text

LARGEST_PAGE = 1 << 26  # bytes of XML
LARGEST_TEXT = 1 << 22  # characters of wikitext: twice what Wikipedia allows
PAGE, PAGE_END, END = b"<page>", b"</page>", b"</mediawiki>"
WAY = "download the dump again"

_NAMESPACE = re.compile(r'<namespace key="(6|14)"[^>]*>([^<]+)</namespace>')
_LANGUAGE = re.compile(r'<mediawiki[^>]*\sxml:lang="([\w-]+)"')
_BASE = re.compile(r"<base>(https?://[^<]*/)[^/<]*</base>")
_REDIRECT = re.compile(r"\s*#\s*(redirect|重定向|重新導向)", re.IGNORECASE)


class Wiki(NamedTuple):
    """What a dump says of itself before its first page."""

    namespaces: Namespaces
    meta: dict[str, str]
    base: str


def read_wikipedia(opened: Opened) -> Iterator[Item]:
    buffer = Buffer(opened.chunks)
    place = buffer.find(PAGE, limit=1 << 20)
    prolog = buffer.take(max(place, 0) or len(opened.head)).decode("utf-8", "replace")
    if "<!DOCTYPE" in prolog or "<!ENTITY" in prolog:
        raise UnreadableError("an XML dump that declares entities", "Wikipedia's do not: download it again")
    if place < 0:
        yield opened.bad("an XML dump without a page", "download it again")
    wiki, number = _wiki(prolog), 0
    while buffer.peek(len(PAGE)) == PAGE:
        number, offset = number + 1, buffer.offset
        page = _cut_out(buffer)
        if isinstance(page, bytes):
            yield from _items(opened, page, number, offset, wiki)
        elif buffer.broken is None:
            yield opened.bad(f"page {number}: {page}", WAY, number, offset)
        if isinstance(page, bytes) or buffer.peek(1):
            yield from _between(opened, buffer, number)
    if buffer.broken is not None:
        buffer.broken.line, buffer.broken.offset = number + 1, buffer.offset
        yield opened.broken(buffer.broken)


def _cut_out(buffer: Buffer) -> bytes | str:
    """The page that begins here, or what is wrong with it; the buffer is left behind it."""
    end = buffer.find(PAGE_END, limit=LARGEST_PAGE)
    following = buffer.find(PAGE, len(PAGE), limit=end) if end >= 0 else -1
    if 0 <= following < end:
        buffer.skip(following)
        return "it has no end: the next one begins in it"
    if end < 0:
        is_long = buffer.has(LARGEST_PAGE)
        buffer.skip(len(PAGE))
        buffer.skip_to(PAGE)
        return f"it has more than {LARGEST_PAGE >> 20} MiB" if is_long else "the dump ends in it"
    return buffer.take(end + len(PAGE_END))


def _between(opened: Opened, buffer: Buffer, number: int) -> Iterator[Bad]:
    """Go to the next page; between two there is white space, and behind the last one the end of the dump."""
    offset, gap = buffer.offset, max(buffer.find(b"<", limit=1 << 16), 0)
    head = buffer.peek(gap + len(END)).lstrip()
    if head.startswith(PAGE):
        buffer.skip(gap)
        return
    if not head.startswith(END) and buffer.broken is None:
        reason = f"what follows page {number} is no page" if head else "the dump ends early"
        yield opened.bad(reason, WAY, number + 1, offset)
    buffer.skip_to(PAGE)


def _wiki(prolog: str) -> Wiki:
    names = {key: name for key, name in _NAMESPACE.findall(prolog)}
    language, base = _LANGUAGE.search(prolog), _BASE.search(prolog)
    meta = {"language": language[1]} if language else {}
    return Wiki(Namespaces.of(names.get("6"), names.get("14")), meta, base[1] if base else "")


def _items(opened: Opened, page: bytes, number: int, offset: int, wiki: Wiki) -> Iterator[Item]:
    try:
        yield _judged(page, f"{opened.name}:{number}", wiki)
    except UnreadableError as error:
        yield opened.bad(f"page {number}: {error.reason}", error.fix, number, offset)


def _judged(page: bytes, id: str, wiki: Wiki) -> Document | Dropped:
    """Raises ``UnreadableError``."""
    tree = _parsed(page)
    title = tree.findtext("title", "")
    date, text = tree.findtext("revision/timestamp", ""), tree.findtext("revision/text", "")
    meta = wiki.meta | {"title": title, "date": date}
    if wiki.base:
        meta["url"] = wiki.base + title.replace(" ", "_")
    meta = {key: value for key, value in meta.items() if value}
    if reason := _left_out(tree, text):
        return Dropped(Document("", id, meta), reason)
    if len(text) > LARGEST_TEXT:
        raise UnreadableError(f"more than {LARGEST_TEXT:,} characters of wikitext", "leave it out")
    plain = plain_text(text, wiki.namespaces)
    return Document(plain, id, meta) if plain else Dropped(Document("", id, meta), "no text")


def _left_out(tree: ElementTree.Element, text: str) -> str:
    if tree.findtext("ns", "0") != "0":
        return "not an article"
    if tree.find("redirect") is not None or _REDIRECT.match(text):
        return "a redirect"
    if tree.findtext("revision/model", "wikitext") != "wikitext":
        return "not wikitext"
    return "" if text.strip() else "no text"


def _parsed(page: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(page)
    except ElementTree.ParseError as error:
        raise UnreadableError(f"not XML ({error})", WAY) from None
