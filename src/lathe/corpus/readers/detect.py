"""Which format a file is in, by what it holds; its name decides only between formats that the same text may be in."""

import json
import re

from lathe.core.data import TEXT
from lathe.core.data.encodings import UnreadableError, detect, readings
from lathe.corpus.readers.opened import Format

LOOKED_AT = 50  # lines
LONG_LINE = 10_000  # characters: it may go on behind the head of the file

_MAGIC: tuple[tuple[int, bytes, Format], ...] = (
    (0, b"PAR1", "parquet"), (0, b"WARC/", "warc"), (257, b"ustar", "tar"),
)  # fmt: skip
_NO_TEXT = {
    b"%PDF-": "a PDF document", b"PK\x03\x04": "a ZIP archive or an office document", b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image", b"GIF8": "an image", b"7z\xbc\xaf": "a 7-Zip archive", b"Rar!": "a RAR archive",
    b"SQLite format 3": "a database", b"\x7fELF": "a program",
}  # fmt: skip
_UTF_32 = ("text in UTF-32, which is not read here", "convert it: iconv -f UTF-32 -t UTF-8 FILE > FILE.txt")
_ARC = (
    "an ARC archive, the format before WARC, which is not read here",
    "convert it: `warcio recompress FILE.arc.gz FILE.warc.gz` makes WARC of ARC",
)
_NOT_READ = {b"filedesc://": _ARC, b"\xff\xfe\0\0": _UTF_32, b"\0\0\xfe\xff": _UTF_32}
_HTML = re.compile(r"(\s|<!--.*?-->|<\?xml[^>]*>)*<(!doctype html|html|head|body)[\s>]", re.IGNORECASE | re.DOTALL)
_WIKIPEDIA = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!DOCTYPE.*?)?<mediawiki[\s>]", re.DOTALL)
_FRONT_MATTER = re.compile(r"---[ \t]*\n([\w-]+:.*\n|[ \t#-].*\n)+(---|\.\.\.)[ \t]*\n")
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_MARKUP = re.compile(r"^```|^~~~|\]\(|^([*+-] .*\n){2}|^\d+\. .*\n2?\d+\. ", re.MULTILINE)
_NAME = re.compile(r"\S{1,40}( \S{1,20}){0,2}")
_SUFFIXES: dict[str, Format] = {
    ".md": "markdown", ".markdown": "markdown", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "text",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip


def detect_format(head: bytes, name: str, declared: Format | None = None) -> Format:
    """The format of a file that begins with ``head``. Raises ``UnreadableError`` for what holds no text.

    What is declared is believed, but of the members of an archive.

    JSON lines, web pages, dumps and archives are known by their content whatever they are called. Markdown and tables
    are text as well: there a name that says one of these is believed, and without one, what it looks like.
    """
    found = next((kind for place, magic, kind in _MAGIC if head.startswith(magic, place)), None)
    if known := found if found == "tar" else declared or found:
        return known
    if what := next((what for magic, what in _NO_TEXT.items() if head.startswith(magic)), None):
        raise UnreadableError(f"{what}, no text", "unpack or convert it")
    if told := next((told for magic, told in _NOT_READ.items() if head.startswith(magic)), None):
        raise UnreadableError(*told)
    if not head:
        raise UnreadableError("the file is empty", "delete it, or write it again")
    text = head.decode(_codec(head), "replace").removeprefix("\ufeff")
    if _WIKIPEDIA.match(text):
        return "wikipedia"
    if _HTML.match(text):
        return "html"
    lines = [line for line in text.splitlines() if line.strip()][:LOOKED_AT]
    if _is_json_lines(lines):
        return "jsonl"
    return _by_name(name) or _looks_like(text, lines)


def _codec(head: bytes) -> str:
    if codec := detect(head):
        return codec
    if is_binary(head):
        raise UnreadableError("binary data, no text", "leave it out")
    return "utf-8"  # lines that are not will be quarantined


def is_binary(head: bytes) -> bool:
    """Whether so many bytes are controls as no text has; of compressed data a tenth is."""
    controls = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\v\f\r\x1b")
    return controls > 0.02 * len(head)


def _by_name(name: str) -> Format | None:
    suffixes = [f".{part.lower()}" for part in name.rpartition("/")[2].split(".")[1:]]
    return next((_SUFFIXES[suffix] for suffix in reversed(suffixes) if suffix in _SUFFIXES), None)


def _is_json_lines(lines: list[str]) -> bool:
    """Half of the lines begin as an object does, and one is whole or too long to see; some may be broken."""
    opened = [line for line in lines if re.match(r'\s*\{\s*("|\})', line)]
    if lines and re.match(r'\s*\[\s*(\{\s*"|$)', lines[0]) and re.match(r'\s*\[\s*\{\s*"', "".join(lines[:3])):
        raise UnreadableError("one JSON array, not one object a line", "convert it: jq -c '.[]' FILE > FILE.jsonl")
    return len(opened) * 2 >= max(len(lines), 1) and any(map(_is_object, opened))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return len(line) > LONG_LINE


def _looks_like(text: str, lines: list[str]) -> Format:
    if _is_table(lines, "\t"):
        return "tsv"
    if _is_table(lines, ","):
        return "csv"
    if _FRONT_MATTER.match(text) or (_HEADING.search(text) and _MARKUP.search(text)):
        return "markdown"
    return "text"


def _is_table(lines: list[str], separator: str) -> bool:
    """A first line of names, one of which says that it is the text, above rows of as many fields."""
    names = [part.strip() for part in lines[0].split(separator)] if lines else []
    if len(names) < 2 or len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
        return False
    if not {name.casefold() for name in names} & set(TEXT[0].roles[0].aliases):
        return False
    rows = lines[1:-1] or lines[1:]
    fitting = [row for row in rows if row.count(separator) == len(names) - 1 or '"' in row]
    return 0 < len(rows) <= len(fitting) * 1.25


def unclear(head: bytes) -> str:
    """What to say of a file whose encoding is not clear."""
    line = next((line for line in head.split(b"\n") if not line.isascii()), head)
    return f"declare source.encoding, or save the file as UTF-8{readings(line)}"
