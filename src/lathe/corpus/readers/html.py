"""The main text of web pages: the article, without navigation, forms, comments and what stands around it."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from lathe.core.data.encodings import UnreadableError, codec_of, decode, detect, name
from lathe.core.errors import LatheError, RecipeError
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped, Item, Noted
from lathe.corpus.readers.detect import unclear
from lathe.corpus.readers.opened import Extraction, Opened, Options

LARGEST_PAGE = 1 << 24  # bytes
DEEPEST = 500  # elements in elements: parsers take time that grows with its square
DECLARED_WITHIN = 1024  # bytes, as browsers look
TORN = 0.001  # share of the bytes of a page that may be broken: they are replaced, and that is counted

_DECLARED = re.compile(rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)[^>]*?(/?)>", re.IGNORECASE)
_UNNESTED = frozenset(  # that have no end, or need none
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
    + ["p", "li", "dt", "dd", "tr", "td", "th", "option", "thead", "tbody", "tfoot"]
)
_LABELS = {"gb2312": "gb18030", "gbk": "gb18030", "big5-hkscs": "big5hkscs", "iso-8859-1": "cp1252", "utf8": "utf-8"}


class Page(NamedTuple):
    text: str  # "" where a page has no main text
    meta: dict[str, str]


def read_html(opened: Opened, options: Options) -> Iterator[Item]:
    """A file that is one page."""
    raw = bytearray()
    for chunk in opened.chunks:
        raw += chunk
        if len(raw) > LARGEST_PAGE:
            raise UnreadableError(f"a page of more than {LARGEST_PAGE >> 20} MiB", "cut it, or leave it out")
    yield from page_items(bytes(raw), opened.name, {}, options, options.codec)


def page_items(raw: bytes, id: str, meta: dict[str, str], options: Options, declared: str | None) -> Iterator[Item]:
    """The document of a page, and its encoding. Raises ``UnreadableError``."""
    html, encoding, torn = decoded(raw, declared)
    yield Noted("encodings", encoding)
    if torn:
        yield Noted("replaced", "bytes of web pages", torn)
    page = extract(html, options.extraction)
    document = Document(page.text.replace("\0", ""), id, meta | page.meta)
    yield document if document.text.strip() else Dropped(document, "no main text")


def decoded(raw: bytes, declared: str | None) -> tuple[str, str, int]:
    """A page's HTML, the name of its encoding, and how many characters could not be read and are replaced.

    UTF-8 is what is valid as such, whatever is said of it. Then counts what its server or the user says
    (``declared``), then what the page says, then what its bytes are, where that is clear.
    """
    said = [_codec(label) for label in (declared, _in_page(raw)) if label]
    told = detect(raw)
    for codec in dict.fromkeys(["utf-8"] * (told == "utf-8") + [*filter(None, said), told or "utf-8"]):
        try:
            return decode(raw, codec).removeprefix("\ufeff"), name(codec), 0
        except UnreadableError:
            continue
    if likeliest := next(filter(None, said), None) or told:
        text = raw.decode(likeliest, "replace")
        torn = text.count("\ufffd")
        if torn <= max(len(raw) * TORN, 1):
            return text, name(likeliest), torn
    raise UnreadableError("not in the encoding it says, and which one it is in is not clear", unclear(raw))


def extract(html: str, extraction: Extraction) -> Page:
    """Main text, title, language, date and address. Raises ``UnreadableError`` for a page that no parser should see."""
    if html.count("<") > DEEPEST and _depth(html) > DEEPEST:
        raise UnreadableError(f"elements nested more than {DEEPEST} deep", "leave the page out")
    parse, main_text = _parser()
    tree = parse(html)
    if extraction == "quality":
        text = _thorough(html)
    else:
        text = main_text(tree, main_content=True, alt_texts=False, list_bullets=False)
    return Page(text.strip(), {key: value for key, value in _meta(tree).items() if value})


def _thorough(html: str) -> str:
    try:
        from trafilatura import extract as extract_text
    except ImportError:
        raise LatheError("source.extraction=quality needs trafilatura: pip install 'lathe[corpus]'") from None
    return extract_text(html, include_comments=False) or ""


def _meta(tree: Any) -> dict[str, str]:
    document = tree.document
    root = document.query_selector("html")
    return {
        "title": " ".join(tree.title.split()) if tree.title else "",
        "language": (root.getattr("lang") or "") if root else "",
        "date": _attribute(document, "meta[property='article:published_time']", "content"),
        "url": _attribute(document, "link[rel='canonical']", "href"),
    }


def _attribute(document: Any, selector: str, name: str) -> str:
    element = document.query_selector(selector)
    return (element.getattr(name) or "").strip() if element else ""


@cache
def _parser() -> tuple[Any, Any]:
    """How resiliparse makes a tree of a page, and text of a tree."""
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.html import HTMLTree
    except ImportError:
        raise LatheError("web pages need resiliparse: pip install 'lathe[corpus]'") from None
    return HTMLTree.parse, extract_plain_text


def _depth(html: str) -> int:
    """The deepest that elements are nested which have to be closed; a little more where they are not."""
    depth = deepest = 0
    for closing, tag, alone in _TAG.findall(html):
        if not alone and tag.lower() not in _UNNESTED:
            depth = max(depth + (-1 if closing else 1), 0)
            deepest = max(deepest, depth)
    return deepest


def _in_page(raw: bytes) -> str | None:
    match = _DECLARED.search(raw, 0, DECLARED_WITHIN)
    return match[1].decode("ascii", "ignore") if match else None


def _codec(label: str) -> str | None:
    """The codec that browsers take for a label; they read GBK as its superset, and Latin-1 as Windows-1252."""
    label = label.strip("\"' ").lower()
    try:
        return codec_of(_LABELS.get(label, label))
    except RecipeError:
        return None
