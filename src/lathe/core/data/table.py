"""A whole file of rows in memory: each kept or quarantined, with what was found said in one line."""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from lathe.core.data.files import read_rows
from lathe.core.data.records import NOT_UTF8, Bad, Record, RowError
from lathe.core.data.shapes import Columns, Shape, find_columns
from lathe.core.digest import digest_of
from lathe.core.errors import DataError, did_you_mean
from lathe.core.keyed import Seeds, row_keys
from lathe.core.types import Row

LOOK_AHEAD = 1000  # rows whose keys make up the columns of a JSONL file
SHOWN_LABELS = 12


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file under the names a task knows: ``text``, ``label``, ``tokens``, ``spans``, ..."""

    path: Path
    digest: str  # sha256 of the file
    rows: list[dict[str, Any]]
    lines: list[int]  # of each row; kept + quarantined = read
    bad: list[Bad]
    columns: Mapping[str, str]  # role -> column
    unused: Mapping[str, int]  # column -> rows that have it
    notes: Mapping[str, int]  # what had to be read in a particular way -> how often


def load(path: Path, shapes: Sequence[Shape], columns: Columns | None = None) -> Table:
    """Read all rows of one of ``shapes``. Raises ``DataError`` if nothing, or less than half in UTF-8, can be used.

    >>> table = load(Path("reviews.csv"), LABELLED, Columns(text="review"))     # doctest: +SKIP
    >>> describe(table)                                                         # doctest: +SKIP
    "reviews.csv: 6,920 rows; text = 'review', label = 'label' (2 labels: negative 3,310, positive 3,610)"
    """
    records = read_rows(path)
    head = _look_ahead(records)
    names = list(dict.fromkeys(name for record in head if isinstance(record, Record) for name in record.row))
    if not names:
        _refuse_all(path, [record for record in head if isinstance(record, Bad)])
    try:
        shape, found = find_columns(names, shapes, columns or Columns())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    table = _collect(path, shape, found, chain(head, records))
    if not table.rows or _not_utf8(table.bad) > len(table.rows):
        _refuse_all(path, table.bad)
    return table


def read_row(
    row: Mapping[str, Any], shape: Shape, columns: Mapping[str, str]
) -> tuple[dict[str, Any], Mapping[str, int]]:
    """One row under the names of its roles, and notes on how it was read. Raises ``RowError``."""
    optional = {role.name for role in shape.roles if role.is_optional}
    for role, name in columns.items():
        if name not in row and role not in optional:
            raise RowError(name, "", "the column is missing", "write it or delete the row")
    try:
        return shape.read({role: row[name] for role, name in columns.items() if name in row})
    except RowError as error:  # the task knows roles, the user columns
        field = columns.get(error.field or "", error.field)
        raise RowError(field, error.value, error.reason, error.fix) from None


def keys(table: Table) -> Seeds:
    """The key of each row: what all randomness about it starts from.  [rows]"""
    return row_keys(table.digest, len(table.rows))


def describe(table: Table) -> str:
    """One line for people: rows, columns with their roles, labels, what is not used and what was set aside."""
    roles = [f"{role} = {column!r}" for role, column in table.columns.items()]
    found = _labels_by_kind(table)
    told = [_counted(counts, "label" if len(found) == 1 else f"{kind} label") for kind, counts in found.items()]
    if told:
        roles[-1] += f" ({'; '.join(told)})"
    parts = [f"{table.path.name}: {len(table.rows):,} row{'s' * (len(table.rows) != 1)}", ", ".join(roles)]
    if table.unused:
        parts.append(f"unused columns: {', '.join(table.unused)}")
    if table.bad:
        parts.append(f"{len(table.bad):,} quarantined")
    return "; ".join(parts)


def warnings(table: Table) -> list[str]:
    """What a person should look at, one line each: the quarantine, odd readings, labels that differ in case only."""
    name = table.path.name
    found = []
    if table.bad:
        read = len(table.bad) + len(table.rows)
        found.append(f"{name}: {len(table.bad):,} of {read:,} rows quarantined, the first: {table.bad[0]}")
    found += [f"{name}: {count:,} {note}" for note, count in table.notes.items()]
    if wrapped := _wrapped(table):
        found.append(f"{name}: {wrapped:,} texts in double quotes; TSV has no quoting, so they belong to the text")
    for group in [group for counts in _labels_by_kind(table).values() for group in near_misses(counts)]:
        found.append(f"{name}: labels that differ in case or spaces only: {', '.join(map(repr, group))}; are they one?")
    return found


def labels(table: Table) -> Counter[str]:
    """How often each label occurs: of texts, spans, relations, events and their roles."""
    return sum(_labels_by_kind(table).values(), Counter[str]())


def labels_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What every label of a row is of, and its name; the right one of several choices is a place, not a label."""
    if isinstance(label := row.get("label"), str):
        yield "text", label
    yield from (("text", name) for name in row.get("labels", ()))
    yield from (("span", span.label) for span in row.get("spans", ()))
    yield from (("relation", relation.label) for relation in row.get("relations", ()))
    for event in row.get("events", ()):
        yield "trigger", event.trigger.label
        yield from (("role", argument.label) for argument in event.arguments)


def near_misses(names: Iterable[str]) -> list[list[str]]:
    """Groups of labels that a person would read as one: ``Positive`` and ``positive ``."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def check_labels(table: Table, known: Sequence[str], labels_in: Callable[[Row], Iterable[str]]) -> None:
    """Raise ``DataError`` naming the line of the first label in a row that is not ``known``."""
    allowed = set(known)
    for line, row in zip(table.lines, table.rows, strict=True):
        for label in labels_in(row):
            if label not in allowed:
                one_of = ", ".join(known)
                raise DataError(f"{table.path}:{line}: label {label!r} is not one of {one_of}{_nearest(label, known)}")


def write_quarantine(bad: Sequence[Bad], path: Path) -> None:
    """One JSON object a line: file, line, field, value, reason, fix."""
    text = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in bad)
    path.write_text(text, encoding="utf-8")


def _counted(counts: Counter[str], what: str) -> str:
    shown = ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items())[:SHOWN_LABELS])
    return f"{len(counts)} {what}{'s' * (len(counts) != 1)}: {shown}{', ...' * (len(counts) > SHOWN_LABELS)}"


def _look_ahead(records: Iterator[Record | Bad]) -> list[Record | Bad]:
    """As many records as it takes to know the columns."""
    head: list[Record | Bad] = []
    good = 0
    for record in records:
        head.append(record)
        good += isinstance(record, Record)
        if good == LOOK_AHEAD:
            break
    return head


def _collect(path: Path, shape: Shape, columns: Mapping[str, str], records: Iterable[Record | Bad]) -> Table:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    bad: list[Bad] = []
    unused, notes = Counter[str](), Counter[str]()
    used = set(columns.values())
    for record in records:
        if isinstance(record, Bad):
            bad.append(record)
            continue
        unused.update(record.row.keys() - used)
        try:
            row, noted = read_row(record.row, shape, columns)
        except RowError as error:
            bad.append(error.at(path, record.line, record.offset))
            continue
        rows.append(row)
        lines.append(record.line)
        notes.update(noted)
    return Table(path, digest_of(path), rows, lines, bad, columns, dict(sorted(unused.items())), dict(notes))


def _refuse_all(path: Path, bad: Sequence[Bad]) -> NoReturn:
    if not bad:
        raise DataError(f"{path}: holds no rows")
    count = _not_utf8(bad)
    first = "\n  ".join(str(one) for one in bad[:3])
    if count * 2 > len(bad):
        out = f"utf8-{path.name}"
        way = f"convert it from what it was saved in (GB18030? CP1252?): iconv -f GB18030 -t UTF-8 {path.name} > {out}"
        raise DataError(f"{path}: {count:,} lines are not UTF-8; {way}\n  {first}")
    raise DataError(f"{path}: none of its {len(bad):,} rows can be used:\n  {first}")


def _not_utf8(bad: Sequence[Bad]) -> int:
    return sum(one.reason.startswith(NOT_UTF8) for one in bad)


def _nearest(label: str, known: Sequence[str]) -> str:
    alike = [name for group in near_misses({label: 1, **dict.fromkeys(known, 1)}) if label in group for name in group]
    return next((f"; did you mean {name!r}?" for name in alike if name != label), did_you_mean(label, known))


def _wrapped(table: Table) -> int:
    """Texts of a TSV file that another program may have put into quotes."""
    if not {".tsv", ".tab"} & set(table.path.suffixes):
        return 0
    texts = (value for row in table.rows for value in row.values() if isinstance(value, str))
    return sum(len(text) > 1 and text[0] == text[-1] == '"' for text in texts)


def _labels_by_kind(table: Table) -> dict[str, Counter[str]]:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in table.rows:
        for kind, label in labels_of(row):
            found[kind][label] += 1
    return dict(found)
