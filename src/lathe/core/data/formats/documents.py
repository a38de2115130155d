"""JSON files that are one document: a list of rows, SQuAD's nested questions, what annotation tools export."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from lathe.core.data.encodings import UnreadableError, decode
from lathe.core.data.formats.exports import c3_rows, columns_of, is_c3, is_label_studio, label_studio_row
from lathe.core.data.records import (
    Bad,
    Record,
    RowError,
    json_type,
    refuse_half_characters,
    strict_json,
)
from lathe.core.data.source import Source, content, refuse_other_encodings
from lathe.core.errors import DataError

LARGEST = 1 << 30  # bytes; a larger document is written as one object a line
_SPACE = re.compile(r"[ \t\n\r]*")
_UNDECODED = re.compile("[\udc80-\udcff]")
_SQUAD = re.compile(rb'\s*\{\s*("version"\s*:\s*("[^"]*"|[\d.]+)\s*,\s*)?"data"\s*:\s*\[')


def is_document(head: bytes) -> bool:
    """Whether a JSON file begins as one document does, not as one object a line."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"[") or start.split(b"\n", 1)[0].rstrip() == b"{" or bool(_SQUAD.match(start))


def document_rows(source: Source) -> Iterator[Record | Bad]:
    """The rows of a document, each at the line where it begins. Raises ``DataError`` where it is not JSON."""
    document = _Document(source.path, _text_of(source))
    nodes = list(document.rows())
    first = nodes[0].value if nodes else None
    if isinstance(first, Mapping) and ("paragraphs" in first or {"context_text", "qas"} <= first.keys()):
        nodes = list(chain.from_iterable(map(document.questions, nodes)))
    rows_of = _rows_of(nodes)
    for node, line, offset in document.placed(nodes):
        try:
            document.check(node, offset)
            yield from (Record(line, row, offset) for row in rows_of(node.value))
        except RowError as error:
            yield error.at(source.path, line, offset)


def _rows_of(nodes: "list[_Node]") -> Callable[[Any], Iterable[dict[str, Any]]]:
    """What makes rows of an element; the first one tells."""
    first = nodes[0].value if nodes else None
    if is_label_studio(first):
        columns = columns_of(node.value for node in nodes)
        return lambda task: [label_studio_row(task, columns)]
    return c3_rows if is_c3(first) else _plain


def _plain(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        raise RowError(None, value, f"{json_type(value)}, not a row", 'write {"text": ...}')
    return [value]


def _text_of(source: Source) -> str:
    """The whole document; bytes that are not UTF-8 stay what they are, so that the rows without them can be read."""
    parts: list[bytes] = []
    size = 0
    for chunk in content(source.path, source.compression):
        refuse_other_encodings(source.path, chunk) if not parts else None
        parts.append(chunk)
        size += len(chunk)
        if size > LARGEST:
            way = f"convert it: jq -c '.[]' {source.path.name} > {source.path.stem}.jsonl"
            raise DataError(f"{source.path}: one JSON document of more than {LARGEST >> 30} GiB; {way}")
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _question(article: Any, paragraph: Any, question: Any) -> Any:
    """One row of SQuAD, or of CMRC's trial, whose names are longer; what is no question stays what it is."""
    if not isinstance(question, dict):
        return question
    rest = {name: value for name, value in question.items() if name not in ("query_id", "query_text")}
    row = {
        "id": question.get("query_id"),
        "title": article.get("title"),
        "context": paragraph.get("context", paragraph.get("context_text")),
        "question": question.get("query_text"),
    }
    return {name: value for name, value in row.items() if value is not None} | rest


class _Node(NamedTuple):
    """A value and where it stands in the text."""

    start: int
    end: int
    value: Any
    faults: tuple[RowError, ...] = ()


class _Document:
    """A text of JSON in which every value has its place."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self._faults: list[RowError] = []
        self._decoder = strict_json(self._noted)
        self._root = self._skip(int(text.startswith("\ufeff")))

    def rows(self) -> Iterator[_Node]:
        """The elements of the list that the document is, or that is its ``data``."""
        start = self._root
        if self.text.startswith("{", start):
            found = next((node for name, node in self._members(start) if name == "data"), None)
            if found is None or not isinstance(found.value, list):
                names = ", ".join(repr(name) for name, _ in self._members(start))
                raise DataError(f"{self.path}: one JSON object with {names}; write a list of rows, or one row a line")
            start = found.start
        yield from self._elements(start)

    def questions(self, article: _Node) -> Iterator[_Node]:
        """The questions of an article of SQuAD, or of a passage of CMRC's trial, as rows of their own."""
        members = dict(self._members(article.start)) if isinstance(article.value, Mapping) else {}
        paragraphs = list(self._elements(members["paragraphs"].start)) if "paragraphs" in members else [article]
        within = any(paragraph.faults for paragraph in paragraphs)
        for paragraph in paragraphs:
            fields = dict(self._members(paragraph.start)) if isinstance(paragraph.value, Mapping) else {}
            if "qas" not in fields or not isinstance(fields["qas"].value, list):
                fault = RowError("qas", "", "a paragraph without questions", 'write "qas": [], or delete it')
                yield paragraph._replace(faults=(fault,))
                continue
            outer = paragraph.faults or (() if within else article.faults)
            for question in self._elements(fields["qas"].start):
                value = _question(article.value, paragraph.value, question.value)
                yield question._replace(value=value, faults=question.faults or outer)

    def placed(self, nodes: "Iterable[_Node]") -> Iterator[tuple[_Node, int, int]]:
        """Nodes in their order, each with its line and the offset of its first byte."""
        at, line, offset = 0, 1, 0
        for node in nodes:
            passed = self.text[at : node.start]
            line, offset = line + passed.count("\n"), offset + len(passed.encode("utf-8", "surrogateescape"))
            at = node.start
            yield node, line, offset

    def check(self, node: _Node, offset: int) -> None:
        """Raise ``RowError`` for what is wrong with the writing of a row."""
        raw = self.text[node.start : node.end]
        if _UNDECODED.search(raw):
            try:
                decode(raw.encode("utf-8", "surrogateescape"), "utf-8", offset)
            except UnreadableError as error:
                shown = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                raise RowError(None, shown, error.reason, error.fix) from None
        if node.faults:
            raise node.faults[0]
        refuse_half_characters(raw, node.value)

    def _noted(self, hook: Any) -> Any:
        """A hook of the decoder whose fault is kept for the row, so that the rows behind it can be read."""

        def call(found: Any) -> Any:
            try:
                return hook(found)
            except RowError as error:
                self._faults.append(error)
                return dict(found) if isinstance(found, list) else None

        return call

    def _elements(self, start: int) -> Iterator[_Node]:
        """The values of the list at ``start``."""
        at = self._skip(start + 1)
        while self.text[at : at + 1] != "]":
            node = self._node(at)
            yield node
            at = self._behind(node.end, "]")
        if start == self._root and (rest := self._skip(at + 1)) < len(self.text):
            self._refuse("text follows the end of the list", rest)

    def _members(self, start: int) -> Iterator[tuple[str, _Node]]:
        """The keys of the object at ``start`` with their values."""
        at = self._skip(start + 1)
        while self.text[at : at + 1] != "}":
            name = self._node(at)
            colon = self._skip(name.end)
            if not isinstance(name.value, str) or self.text[colon : colon + 1] != ":":
                self._refuse("a key and a colon are expected", colon)
            node = self._node(self._skip(colon + 1))
            yield name.value, node
            at = self._behind(node.end, "}")

    def _node(self, at: int) -> _Node:
        self._faults.clear()
        try:
            value, end = self._decoder.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            self._refuse(error.msg, error.pos)
        except RecursionError:
            self._refuse("nested too deeply", at)
        return _Node(at, end, value, tuple(self._faults))

    def _behind(self, at: int, end: str) -> int:
        """Where the next element begins, or the bracket that ends them all."""
        at = self._skip(at)
        if self.text.startswith(",", at):
            return self._skip(at + 1)
        if not self.text.startswith(end, at):
            self._refuse(f"a comma or {end} is expected", at)
        return at

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _refuse(self, reason: str, at: int) -> NoReturn:
        line, column = self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)
        way = "mend it there, or write one row a line as .jsonl, where a broken one costs no other"
        raise DataError(f"{self.path}:{line}: not JSON: {reason} at character {column} of the line; {way}")
