"""From lines to records: every line becomes a row or a ``Bad`` that says what is wrong with it and how to mend it."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

from lathe.core.data.encodings import UnreadableError, decode
from lathe.core.data.source import MAX_LINE_BYTES, BrokenStreamError, Line, Source, lines
from lathe.core.errors import DataError

MAX_VALUE = 1000  # characters of a bad value that are kept
NOT_UTF8 = "not UTF-8"  # how the reason of a line in another encoding begins
MAX_RECORD_LINES = 1000  # a quoted CSV field with more line ends is taken for a quote that was never closed

_QUOTED = re.compile(r'[^"]*(?:""[^"]*)*')  # from after the opening quote to before the closing one
_SURROGATE = re.compile("[\ud800-\udfff]")


class Record(NamedTuple):
    """One row as the file has it."""

    line: int
    row: dict[str, Any]
    offset: int = 0  # of its first byte, in the decompressed file


@dataclass(frozen=True, slots=True)
class Bad:
    """One line or row that cannot be used: what, where, why, and the way out."""

    file: str
    line: int
    field: str | None
    value: str  # shortened
    reason: str
    fix: str
    offset: int = 0  # of the first byte of the line or row, in the decompressed file

    def __str__(self) -> str:
        if not self.line:  # the file as a whole
            return f"{self.file}: {self.reason}; {self.fix}"
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {field}{self.reason} (got {self.value[:80]!r}); {self.fix}"


class RowError(Exception):
    """Raised while one row is read: the row goes to quarantine, the reading goes on."""

    def __init__(self, field: str | None, value: object, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.field, self.value, self.reason, self.fix = field, value, reason, fix

    def at(self, path: Path | str, line: int, offset: int = 0) -> Bad:
        text = self.value if isinstance(self.value, str) else repr(self.value)
        printable = text[:MAX_VALUE].encode("utf-8", "backslashreplace").decode("utf-8")
        return Bad(str(path), line, self.field, printable, self.reason, self.fix, offset)


def read_source(source: Source) -> Iterator[Record | Bad]:
    """Every row of a stream of lines whose format is known: standard input has no name that tells it."""
    yield from told_breaks(source.path, rows(source, lines(source)))


def told_breaks(path: Path, records: Iterable[Record | Bad]) -> Iterator[Record | Bad]:
    """The same records; a damaged compressed file becomes a ``DataError`` that says how much could be read."""
    count = 0
    try:
        for count, record in enumerate(records, 1):  # noqa: B007 (the error needs the count)
            yield record
    except BrokenStreamError as error:
        way = "copy or download the file again"
        raise DataError(f"{path}: {error}: {count:,} rows could be read before the break; {way}") from None


def rows(source: Source, source_lines: Iterator[Line]) -> Iterator[Record | Bad]:
    """Every row of lines that are at hand, in the format that ``source`` says."""
    return _READERS[source.format](source, source_lines)


# ------------------------------------------------------------------------------------------------------------- JSON
def _json_rows(source: Source, source_lines: Iterator[Line]) -> Iterator[Record | Bad]:
    for line in source_lines:
        if line.raw and not line.raw.isspace():
            try:
                yield Record(line.number, _json_object(line), line.offset)
            except RowError as error:
                yield error.at(source.path, line.number, line.offset)


def _json_object(line: Line) -> dict[str, Any]:
    text = decode_line(line)
    try:
        row = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        fix = "write one complete JSON object on the line"
        raise RowError(None, text, f"not JSON: {error.msg} at character {error.pos + 1}", fix) from None
    except RecursionError:
        raise RowError(None, text, "nested too deeply", "write the row as a flat object") from None
    if not isinstance(row, dict):
        raise RowError(None, text, f"{json_type(row)}, not an object", 'write {"text": ...}')
    refuse_half_characters(text, row)
    return row


def refuse_half_characters(text: str, value: Any) -> None:
    """Raise ``RowError`` where the escapes of a JSON text make half a character."""
    if "\\ud" in text.lower() and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise RowError(None, text, "holds half a surrogate pair", "write the whole character, not its UTF-16 halves")


def json_type(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {list: "a list", dict: "an object", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def strict_json(guard: Callable[[Callable[[Any], Any]], Callable[[Any], Any]] = lambda hook: hook) -> json.JSONDecoder:
    """JSON in which no key stands twice and every number is one; each check goes through ``guard``."""
    return json.JSONDecoder(
        object_pairs_hook=guard(_unique),
        parse_constant=guard(_refuse_constant),
        parse_float=guard(_float),
        parse_int=guard(_int),
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError(
            twice, [value for name, value in pairs if name == twice], "the key stands twice", "keep one of them"
        )
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise RowError(None, name, f"{name} is not JSON", "write null or a number")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise RowError(None, text, "the number is too large", "write a number below 1.8e308")
    return number


def _int(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise RowError(None, text, "the number has more than 64 bits", "write it as a string")
    return int(text)


_DECODER = strict_json()


# --------------------------------------------------------------------------------------------------------- CSV, TSV
_NextLine: TypeAlias = Callable[[], Line | None]
_Split: TypeAlias = Callable[[Line, _NextLine, list[Line]], list[str]]


def _rows_below_header(source: Source, source_lines: Iterator[Line], split: _Split) -> Iterator[Record | Bad]:
    """The rows of a table whose first line names the columns.

    A record that goes wrong after several lines gives up its first line only: reading goes on with the second, so
    that one stray quote does not swallow the good rows behind it.
    """
    waiting: deque[Line] = deque()

    def next_line() -> Line | None:
        return waiting.popleft() if waiting else next(source_lines, None)

    header: list[str] | None = None
    while (line := next_line()) is not None:
        if not line.raw.strip(b" "):
            continue
        taken: list[Line] = []
        try:
            fields = split(line, next_line, taken)
            if header is None and (names := names_without_header(fields)):
                header = names
            if header is None:
                header = _header(source, fields)
            else:
                yield Record(line.number, _named(header, fields, line), line.offset)
        except RowError as error:
            waiting.extendleft(reversed(taken))
            if header is None:
                raise DataError(f"{source.path}:{line.number}: {error.reason} in the header; {error.fix}") from None
            yield error.at(source.path, line.number, line.offset)


def _tsv_fields(line: Line, next_line: _NextLine, taken: list[Line]) -> list[str]:  # noqa: ARG001 (as _Split)
    """Tab-separated values have no quoting: a quotation mark is a character like others."""
    return decode_line(line).split("\t")


def _csv_fields(line: Line, next_line: _NextLine, taken: list[Line]) -> list[str]:
    """RFC 4180: a field may be quoted and then hold commas, line ends and doubled quotes.

    The further lines that the record needs are noted in ``taken``.
    """
    text = decode_line(line)
    if '"' not in text:
        return text.split(",")
    fields: list[str] = []
    start = 0
    while start <= len(text):
        if text.startswith('"', start):
            field, text, start = _quoted_field(line, text, start + 1, next_line, taken)
        else:
            end = text.find(",", start) % (len(text) + 1)  # -1, not found, becomes the end
            field, start = text[start:end], end + 1
        fields.append(field)
    return fields


def _quoted_field(line: Line, text: str, start: int, next_line: _NextLine, taken: list[Line]) -> tuple[str, str, int]:
    """The field that is open at ``start``, the line on which it ends, and where on it the next field begins."""
    parts: list[str] = []
    while (end := _end_of_quoted(text, start)) is None:
        parts.append(text[start:] + "\n")
        more = next_line() if len(taken) < MAX_RECORD_LINES else None
        if more is None:
            raise RowError(None, decode_line(line), "a quote is opened and never closed", 'close it, or double it: ""')
        taken.append(more)
        text, start = decode_line(more), 0
    if end + 1 < len(text) and text[end + 1] != ",":
        raise RowError(None, decode_line(line), "text follows a closing quote", 'double the quotes inside a field: ""')
    return "".join([*parts, text[start:end]]).replace('""', '"'), text, end + 2


def _end_of_quoted(text: str, start: int) -> int | None:
    match = _QUOTED.match(text, start)
    return match.end() if match and match.end() < len(text) else None


def names_without_header(fields: list[str]) -> list[str] | None:
    """Columns of a table that is published without their names: its first line has a number where a name would be.

    >>> names_without_header(["gj04", "1", "", "Our friends won't buy this."])
    ['source', 'label', 'mark', 'sentence']
    """
    is_number = [field.isdecimal() for field in fields]
    if len(fields) == 4 and fields[1] in ("0", "1") and fields[2] in ("", "*") and not is_number[3]:
        return ["source", "label", "mark", "sentence"]  # CoLA
    if is_number == [False, False, True] and fields[2] in ("0", "1", "2"):
        return ["sentence1", "sentence2", "label"]  # LCQMC, BQ, ChineseSTS
    return None


def _header(source: Source, names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    if len(names) == 1 and source.format == "csv" and (mark := next((m for m in ";\t|" if m in names[0]), None)):
        raise DataError(
            f"{source.path}: the header {names[0]!r} is separated by {mark!r}; save it with commas, or tabs as .tsv"
        )
    if "" in names:
        raise DataError(
            f"{source.path}: column {names.index('') + 1} has no name; the first line must name every column"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{source.path}: two columns are called {twice!r}; rename one in the first line")
    return names


def _named(header: list[str], fields: list[str], line: Line) -> dict[str, Any]:
    if len(fields) != len(header):
        reason = f"{len(fields)} fields, the header names {len(header)}"
        raise RowError(None, decode_line(line), reason, "put fields that hold the separator into double quotes (CSV)")
    return dict(zip(header, fields, strict=True))


# ------------------------------------------------------------------------------------------------------------- text
def _text_rows(source: Source, source_lines: Iterator[Line]) -> Iterator[Record | Bad]:
    for line in source_lines:
        if line.raw and not line.raw.isspace():
            try:
                text = decode_line(line)
                if not text.isspace():
                    yield Record(line.number, {"text": text}, line.offset)
            except RowError as error:
                yield error.at(source.path, line.number, line.offset)


def decode_line(line: Line) -> str:
    """The text of a line. Raises ``RowError``."""
    value = line.raw[: 4 * MAX_VALUE]
    if line.is_cut:
        reason = f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
        raise RowError(None, value.decode(line.encoding, "replace"), reason, "break it; or is this no text?")
    try:
        return decode(line.raw, line.encoding, line.offset)
    except UnreadableError as error:
        raise RowError(None, value.decode(line.encoding, "backslashreplace"), error.reason, error.fix) from None


_READERS: dict[str, Callable[[Source, Iterator[Line]], Iterator[Record | Bad]]] = {
    "jsonl": _json_rows,
    "csv": partial(_rows_below_header, split=_csv_fields),
    "tsv": partial(_rows_below_header, split=_tsv_fields),
    "text": _text_rows,
}
