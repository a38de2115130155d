"""Prediction: a file of rows in, the same rows with their answers out, in order, with flat memory."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from lathe.core.bundle import Bundle
from lathe.core.data import Bad, Columns, Record, RowError, Shape, find_columns, read_row, read_rows
from lathe.core.data.records import read_source
from lathe.core.data.source import Source
from lathe.core.errors import BundleError, DataError, Stopped
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import Told, progress, say
from lathe.core.runtime import Precision, stop_flag
from lathe.core.types import to_json
from lathe.loader import load, task_of

ANSWER = "prediction"
CHUNK_ROWS = 512  # in memory at a time
LOOK_AHEAD = 1000  # rows whose keys make up the columns
STDIN = Path("/dev/stdin")


@recipe
class Data:
    file: Path
    """Rows to answer: JSONL, CSV, TSV, text or Parquet, plain or compressed; `-` is standard input."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    stdin: Literal["jsonl", "text"] = "jsonl"
    """What standard input holds: a JSON object a line, or a text a line."""


@recipe
class Recipe:
    bundle: Path
    """The model."""
    data: Data
    """The rows."""
    quarantine: Path | None = None
    """Where rows go that cannot be read; OUT.quarantine.jsonl where not given, standard error without -o."""
    precision: Precision = "fp32"
    """Of matrix products, for a torch model."""


@dataclass
class Tally:
    """What became of the rows: answered + quarantined = read."""

    answered: int = 0
    quarantined: int = 0
    truncated: int = 0  # tokens that did not fit
    first: list[Bad] = field(default_factory=list)


class Reader(NamedTuple):
    """Where the values of a row stand."""

    path: Path
    shape: Shape
    columns: Mapping[str, str]

    def read(self, record: Record) -> dict[str, Any]:
        """The row under the names that the task knows. Raises ``RowError``."""
        if ANSWER in record.row:
            raise RowError(ANSWER, record.row[ANSWER], "this column is in the way of the answer", "rename it")
        return read_row(record.row, self.shape, self.columns)[0]


def run(recipe: Recipe, out: Path | None = None) -> Told:
    """Answer every row; ``out`` is a JSONL file, or nothing for standard output."""
    _refuse_place(out)
    quarantine = recipe.quarantine or (out and out.with_name(f"{out.name}.quarantine.jsonl"))
    _refuse_place(quarantine)
    task = task_of(Bundle.open(recipe.bundle, kind="model"))
    reader, records = _open(recipe.data, task.unlabelled)  # a file that is wrong is refused before a model is loaded
    model, tally = load(recipe.bundle, recipe.precision), Tally()
    with ExitStack() as stack:
        answers = stack.enter_context(_whole(out)) if out else sys.stdout
        reject = stack.enter_context(_rejects(quarantine))
        stop, meter = stack.enter_context(stop_flag()), stack.enter_context(progress("predicting"))
        for chunk in _chunks(records):
            answers.writelines(_answer(chunk, reader, model, tally, reject))
            meter.advance(len(chunk))
            if stop.signum:
                raise Stopped(f"stopped after {meter.done:,} rows; {out or 'the rest'} is not written", stop.signum)
        if not tally.answered:
            _refuse(reader.path, tally)
    return _tell(out, quarantine, tally, meter.rate)


def _refuse_place(place: Path | None) -> None:
    """A file that cannot be made is refused before anything is read."""
    if place is not None and place.exists():
        raise BundleError(f"{place}: exists; choose another name, or delete it")
    if place is not None and not place.parent.is_dir():
        raise BundleError(f"{place}: there is no folder {place.parent}; make it first, or choose another name")


def _open(data: Data, shapes: tuple[Shape, ...]) -> tuple[Reader, Iterable[Record | Bad]]:
    is_stdin = str(data.file) == "-"
    path = STDIN if is_stdin else data.file
    records = read_source(Source(path, data.stdin, None)) if is_stdin else read_rows(path)
    head = list(islice(records, LOOK_AHEAD))
    names = list(dict.fromkeys(name for record in head if isinstance(record, Record) for name in record.row))
    if not names:
        bad = [record for record in head if isinstance(record, Bad)]
        _refuse(path, Tally(quarantined=len(bad), first=bad[:3]))
    try:
        shape, columns = find_columns([name for name in names if name != ANSWER], shapes, data.columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return Reader(path, shape, columns), chain(head, records)


def _answer(
    chunk: list[Record | Bad], reader: Reader, model: TaskPredictor, tally: Tally, reject: Callable[[Bad], None]
) -> Iterator[str]:
    """The lines of the output for some records; those that cannot be read are rejected."""
    kept, rows = [], []
    for record in chunk:
        try:
            if isinstance(record, Record):
                rows.append(reader.read(record))
                kept.append(record.row)
                continue
            bad = record
        except RowError as error:
            bad = error.at(reader.path, record.line)
        reject(bad)
        tally.quarantined += 1
        tally.first = (tally.first + [bad])[:3]
    encoded = model.task.encode(rows, model.tokenizer)
    tally.answered += len(rows)
    tally.truncated += sum(row.get("truncated", 0) for row in encoded)
    for row, prediction in zip(kept, model.predict(encoded), strict=True):
        yield _json_line(row | {ANSWER: to_json(prediction)})


def _tell(out: Path | None, quarantine: Path | None, tally: Tally, rate: float) -> Told:
    place = (quarantine or "standard error") if tally.quarantined else None
    text = f"{out or 'standard output'}: {tally.answered:,} rows answered, {rate:,.0f} rows/s"
    text += f"; {tally.quarantined:,} could not be read, see {place}" if tally.quarantined else ""
    text += f"; {tally.truncated:,} tokens did not fit and were cut off" if tally.truncated else ""
    values = {
        "out": str(out) if out else None,
        "rows": tally.answered,
        "quarantined": tally.quarantined,
        "quarantine": str(place) if place else None,
        "truncated_tokens": tally.truncated,
        "rows_per_second": round(rate, 1),
    }
    if out is None:
        say(text)  # standard output is for the answers
    return Told(text if out else "", values)


def _refuse(path: Path, tally: Tally) -> None:
    if not tally.quarantined:
        raise DataError(f"{path}: holds no rows")
    first = "\n  ".join(map(str, tally.first))
    raise DataError(f"{path}: none of its {tally.quarantined:,} rows can be used:\n  {first}")


# ------------------------------------------------------------------------------------------------------------- output
@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A text file that has its name only once it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Bad], None]]:
    """What takes a bad row: a file that is made for the first one, or standard error where there is no file."""
    if path is None:
        yield lambda bad: say(str(bad))
        return
    with ExitStack() as stack:
        opened: list[TextIO] = []

        def reject(bad: Bad) -> None:
            if not opened:
                opened.append(stack.enter_context(_whole(path)))
            opened[0].write(_json_line(asdict(bad)))

        yield reject


def _chunks(records: Iterable[Record | Bad]) -> Iterator[list[Record | Bad]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk


def _json_line(row: Mapping[str, Any]) -> str:
    """One line of JSON; dates and the like, which only Parquet holds, become strings, and NaN becomes null."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, default=str) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
