"""Records as rows that a task learns from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lathe.core.data import Columns, RowError, find_columns, read_row
from lathe.feedback.redact import redacted
from lathe.feedback.store import Record

_WHOLE = ("messages",)  # what a correction gives again, with its answer at the end


def labelled(row: Mapping[str, Any], correction: Mapping[str, Any]) -> dict[str, Any]:
    """The row with what is right. Raises ``RowError`` where a correction would change the row itself."""
    for name in row.keys() & correction.keys():
        old, new = row[name], correction[name]
        if name not in _WHOLE or not isinstance(new, list) or new[: len(old)] != old:
            raise RowError("correction", "", f"changes {name} of the row", "give what is right of the answer alone")
    return {**row, **correction}


def check_correction(task: Any, record: Record, takes_new_labels: bool = False) -> None:
    """As the task reads labelled rows. Raises ``DataError`` or ``RowError``."""
    if record.correction is None:
        return
    if not getattr(task, "labelled", None):
        raise RowError("correction", "", "is of no use to this model, which learns from no labelled rows", "rate it")
    whole = labelled(record.row, record.correction)
    shape, columns = find_columns([*whole], task.labelled, Columns())
    if unused := sorted(record.correction.keys() - set(columns.values())):
        raise RowError("correction", "", f"has fields of no use: {', '.join(unused)[:200]}", "leave them out")
    read, _ = read_row(whole, shape, columns)
    known = getattr(task, "labels", None)
    if known and not takes_new_labels:
        new = sorted({*map(str, task.labels_in(read))} - {*known})
        if new:
            listed = ", ".join(known[:20])
            raise RowError("correction", "", "has a label that the model does not know", f"give one of {listed}")


def without_personal(record: Record) -> Record:
    """Raises ``RowError`` where places of the correction would no longer mean what they did.

    A prediction of which that is true is left out: it can be made again.
    """
    text = record.row.get("text", record.row.get("context", ""))
    text = text if isinstance(text, str) else ""
    row, correction = redacted(record.row, text), redacted(record.correction, text)
    try:
        prediction = redacted(record.prediction, text)
    except RowError:
        prediction = None
    return replace(record, row=row, prediction=prediction, correction=correction, note=redacted(record.note))


@dataclass
class Exported:
    """Rows to train on, the newest correction of each, and where they come from."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    conflicts: int = 0  # rows that were corrected differently
    repeated: int = 0  # corrections older than another of their row
    left_out: int = 0  # rows of other columns than most, or whose personal data cannot be taken out


def exported(records: Iterable[Record], redacts: bool = False) -> Exported:
    """Records in the order in which they came, as rows."""
    found, newest, said = Exported(), dict[str, Record](), dict[str, set[str]]()
    for one in records:
        if one.correction is None:
            continue
        try:
            kept = without_personal(one) if redacts else one
        except RowError:
            found.left_out += 1
            continue
        key = _canonical(kept.row)
        found.repeated += key in newest
        newest.pop(key, None)
        newest[key] = kept
        said.setdefault(key, set()).add(_canonical(kept.correction))
    found.conflicts = sum(len(different) > 1 for different in said.values())
    found.left_out += _take(found, [*newest.values()])
    return found


def _take(found: Exported, records: Sequence[Record]) -> int:
    """A file has the columns of its commonest rows; how many rows have others."""
    names = [tuple(sorted(labelled(one.row, one.correction or {}))) for one in records]
    commonest = max(names, key=names.count, default=()) if len(set(names)) > 1 else (names or [()])[0]
    for one, own in zip(records, names, strict=True):
        if own == commonest:
            found.rows.append(labelled(one.row, one.correction or {}))
            told = ("id", "task", "model", "by", "at_s", "rating", "request_id")
            found.sources.append({name: getattr(one, name) for name in told})
    return len(records) - len(found.rows)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
