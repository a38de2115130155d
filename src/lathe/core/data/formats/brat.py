"""brat's stand-off annotations: a folder of texts (``.txt``) with what is marked in them beside (``.ann``).

Entities (T), relations (R) and events (E) become columns; attributes, normalisations, notes and equivalences keep their
lines in a column of their own. A span of several pieces that only white space parts, such as the end of a line, is one
span. One whose pieces stand apart cannot be written as ``(start, end)``: its text is set aside, with the line of it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lathe.core.data.encodings import UnreadableError, decode
from lathe.core.data.records import Bad, Record, RowError
from lathe.core.data.shapes.values import misplaced
from lathe.core.digest import paths_below
from lathe.core.errors import DataError

_ENTITY = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_RELATION = re.compile(r"(\S+) Arg1:(\S+) Arg2:(\S+)")
_EVENT = re.compile(r"(\S+?):(\S+)((?: \S+?:\S+)*) ?")
_NUMBER_BEHIND_ROLE = re.compile(r"\d+$")  # brat numbers the second argument of a role: Theme2
_FIX = "mend the line; brat's manual says how a standoff file is written"


class _LineError(Exception):
    """A fault of one line of annotations."""

    def __init__(self, number: int, error: RowError) -> None:
        super().__init__(error.reason)
        self.number, self.error = number, error


class _Line(NamedTuple):
    number: int
    id: str
    body: str  # behind the first tab
    text: str  # behind the second


def brat_rows(path: Path) -> Iterator[Record | Bad]:
    """A row ``{id, text, spans, relations, events}`` for each text, in the order of their names.

    ``path`` is a folder, or one ``.ann`` or ``.txt`` of a pair. Raises ``DataError`` for a folder without annotations.
    """
    folder = path if path.is_dir() else path.parent
    below = paths_below(path) if path.is_dir() else []
    files = [file for file in below if file.suffix == ".ann"] if path.is_dir() else [path.with_suffix(".ann")]
    if not files:
        raise DataError(f"{path}: is a folder without brat's annotations (.ann beside .txt); name one file in it")
    if path.is_dir():
        lonely = sorted({file for file in below if file.suffix == ".txt"} - {one.with_suffix(".txt") for one in files})
        reason, way = "a text without annotations", "write an empty .ann beside it if nothing is to be marked"
        yield from (RowError(None, text.name, reason, way).at(text, 1) for text in lonely)
    for number, file in enumerate(files, 1):
        yield _document(file, file.relative_to(folder).with_suffix("").as_posix(), number)


def _document(file: Path, name: str, number: int) -> Record | Bad:
    try:
        text = _read(file.with_suffix(".txt"))
        lines = list(_lines(_read(file)))
        return Record(number, {"id": name, "text": text, **_annotations(text, lines)})
    except _LineError as error:
        return error.error.at(file, error.number)
    except FileNotFoundError:
        return RowError(None, file.name, "there is no text beside it", f"put {file.stem}.txt there").at(file, 1)
    except UnreadableError as error:
        return RowError(None, file.name, error.reason, error.fix).at(file, 1)


def _read(file: Path) -> str:
    """Offsets count the characters of the file as they are: line ends are not touched."""
    return decode(file.read_bytes().removeprefix(b"\xef\xbb\xbf"), "utf-8")


def _lines(annotations: str) -> Iterator[_Line]:
    for number, line in enumerate(annotations.split("\n"), 1):
        if line.strip():
            name, _, rest = line.rstrip("\r").partition("\t")
            body, _, text = rest.partition("\t")
            yield _Line(number, name, body, text)


def _annotations(text: str, lines: list[_Line]) -> dict[str, Any]:
    spans = {line.id: _span(text, line) for line in lines if line.id.startswith("T")}
    twice = next(
        (line for place, line in enumerate(lines) if line.id in {one.id for one in lines[:place]} - {"*"}), None
    )
    if twice:
        raise _LineError(twice.number, RowError("id", twice.id, "the id stands twice", "give each line its own"))
    triggers = {line.id: _matched(_EVENT, line)[2] for line in lines if line.id.startswith("E")}
    known = spans | {event: spans[trigger] for event, trigger in triggers.items() if trigger in spans}
    events = [_event(line, spans, known) for line in lines if line.id.startswith("E")]
    marked = [span for name, span in spans.items() if name not in triggers.values()]
    relations = [_relation(line, {span["id"] for span in marked}) for line in lines if line.id.startswith("R")]
    others = [f"{line.id}\t{line.body}\t{line.text}".strip() for line in lines if line.id[0] not in "TER"]
    return {"spans": marked, "relations": relations, "events": events} | ({"others": others} if others else {})


def _span(text: str, line: _Line) -> dict[str, Any]:
    found = _matched(_ENTITY, line)
    pieces = [tuple(map(int, piece.split())) for piece in found[2].split(";")]
    bounds = [*pieces[0][:1], *(offset for piece in pieces for offset in piece)][1:]
    if sorted(bounds) != bounds or bounds[-1] > len(text):
        reason = f"a span outside the text of {len(text)} characters, or back to front"
        raise _LineError(line.number, RowError("spans", found[2], reason, _FIX))
    start, end = bounds[0], bounds[-1]
    between = "".join(text[left:right] for left, right in zip(bounds[1:-1:2], bounds[2:-1:2], strict=True))
    if between.strip():
        reason = f"a span of {len(pieces)} pieces that stand apart, which tasks cannot learn"
        way = "mark one stretch, or delete the line"
        raise _LineError(line.number, RowError("spans", f"{line.text} ({found[2]})", reason, way))
    if line.text.split() != text[start:end].split():
        reason = f"the line says {line.text!r}, the text there is {text[start:end]!r}"
        raise _LineError(line.number, RowError("spans", found[2], reason, misplaced(text, line.text)))
    return {"id": line.id, "start": start, "end": end, "label": found[1]}


def _relation(line: _Line, known: set[str]) -> dict[str, str]:
    found = _matched(_RELATION, line)
    if missing := next((name for name in (found[2], found[3]) if name not in known), None):
        raise _LineError(line.number, RowError("relations", missing, "no entity of this file", "write the id of one"))
    return {"head": found[2], "tail": found[3], "label": found[1]}


def _event(line: _Line, spans: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """An argument may be another event: its trigger stands for it."""
    found = _matched(_EVENT, line)
    arguments = [part.split(":", 1) for part in found[3].split()]
    named = [found[2], *(name for _, name in arguments)]
    if missing := next(
        (name for name, place in zip(named, [spans, *[known] * len(arguments)], strict=True) if name not in place), None
    ):
        raise _LineError(
            line.number, RowError("events", missing, "no entity or event of this file", "write the id of one")
        )
    roles = [_NUMBER_BEHIND_ROLE.sub("", role) for role, _ in arguments]
    spans_ = [{**known[name], "role": role} for role, (_, name) in zip(roles, arguments, strict=True)]
    return {"id": line.id, "type": found[1], "trigger": spans[found[2]], "arguments": spans_}


def _matched(pattern: re.Pattern[str], line: _Line) -> re.Match[str]:
    if match := pattern.fullmatch(line.body):
        return match
    raise _LineError(line.number, RowError(None, f"{line.id}\t{line.body}", "a line that cannot be read", _FIX))
