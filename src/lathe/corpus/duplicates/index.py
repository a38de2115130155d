"""The n-grams of evaluation data as sorted numbers on disk, made within some memory and shared by all processes.

Every file is read twice: for the digests of its texts, which tell what of it is there before, and for the n-grams of
the texts that are new. These go to parts by their value; a part is put in order in runs, equal ones becoming one.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.data import Bad, read_rows
from lathe.core.digest import digest_of
from lathe.core.errors import DataError
from lathe.core.report import say
from lathe.corpus.duplicates.earlier import NONE
from lathe.corpus.duplicates.exact import digests_of, first_of_equals
from lathe.corpus.duplicates.rows import Parts, Places, Rows, mapped, put, spread
from lathe.corpus.duplicates.shingles import CHUNK, Hashes, shingles, word_bounds
from lathe.corpus.made_once import made_once
from lathe.corpus.protocol import Room

SLOTS = 16
"""Slots for each n-gram in the table that tells most n-grams of a document from those of the evaluation data."""

FORMAT = 3
"""Of the files of an index."""

GRAM_BYTES = 256
"""Memory for each n-gram while equal ones are put together: rows, their order, and copies in that order."""

STRING_BYTES = 64
"""What a text takes in memory beside its characters."""

Numbers: TypeAlias = np.ndarray[Any, Any]


class Grams(NamedTuple):
    """The n-grams of one length; arrays that stay on disk and are shared by all processes."""

    size: int
    values: Hashes  # [G] sorted
    rows: Numbers  # [G, 3] uint64: file and line that each one was first in, and where: one on, the next word begins it
    slots: Numbers  # [2**k] bool: whether a value begins with these k bits

    def found(self, values: Hashes) -> Numbers:
        """Index of each value, -1 for those that are not there.  [S]"""
        places = np.full(len(values), -1, np.int64)
        likely = np.flatnonzero(self.slots[_slot(values, len(self.slots))])
        if len(likely):
            at = np.minimum(np.searchsorted(self.values, values[likely]), len(self.values) - 1)
            places[likely] = np.where(self.values[at] == values[likely], at, -1)
        return places


class Sizes(NamedTuple):
    """The options of an index."""

    words: int
    min_words: int
    max_rows: int


class Texts(NamedTuple):
    """Some texts of an evaluation file, each once."""

    texts: list[str]  # [T]
    lines: list[int]  # [T] where it stands first
    rows: list[int]  # [T] how many rows have it


def folder_of(files: Sequence[Path], sizes: Sizes, memory: int) -> Path:
    """The index of these files, made where the machine does not have it yet.

    Raises ``DataError`` where they hold nothing to look for.
    """
    return made_once(
        "evaluation", [FORMAT, sizes, [digest_of(file) for file in files]], partial(_make, files, sizes, memory)
    )


def grams_in(folder: Path) -> tuple[Grams, ...]:
    """The n-grams of an index, the longest first."""
    lengths = sorted((int(path.name.split("-")[0]) for path in folder.glob("*-values")), reverse=True)
    return tuple(_opened(folder, length) for length in lengths)


def _opened(folder: Path, length: int) -> Grams:
    def numbers(name: str, dtype: type) -> Numbers:
        return np.asarray(np.memmap(folder / f"{length}-{name}", dtype, "r"))

    return Grams(
        length, numbers("values", np.uint64), numbers("rows", np.uint64).reshape(-1, 3), numbers("slots", np.bool_)
    )


def _make(files: Sequence[Path], sizes: Sizes, memory: int, folder: Path) -> None:
    """Write an index into a folder."""
    room = Room(folder / "room", memory)
    known = [_known(file, room.folder / str(number), memory) for number, file in enumerate(files)]
    parts = 1 + sum(one.characters for one in known) * GRAM_BYTES // memory
    found: dict[int, Parts] = {}
    for number, one in enumerate(known):
        for some in one.texts():
            for length, rows in _grams_of(some, number, sizes):
                owners = spread(rows[:, 0], parts)
                found.setdefault(length, Parts(room.folder, f"{length}", parts, width=5)).add(rows, owners)
    if not found:
        names = ", ".join(map(str, files))
        raise DataError(
            f"{names}: no text has {sizes.min_words} words or more; nothing to look for: choose a lower min_words"
        )
    left_out = sum(_save(folder, length, grams, sizes.max_rows, memory) for length, grams in found.items())
    shutil.rmtree(room.folder)
    if left_out:
        often = f"in more than {sizes.max_rows} rows"
        say(f"evaluation data: {left_out:,} runs of words are {often}, and are not looked for")


@dataclass(frozen=True)
class Known:
    """An evaluation file of which it is known which texts are there several times."""

    file: Path
    characters: int
    firsts: Places  # [N] how many rows have a text where it stands first, 0 elsewhere; on disk

    def texts(self) -> Iterator[Texts]:
        """Its different texts, some ``CHUNK`` characters at a time."""
        some, size, place = Texts([], [], []), 0, -1
        for place, (text, line) in enumerate(_texts_of(self.file, Counter())):
            rows = int(self.firsts[place]) if place < len(self.firsts) else 0
            if rows:
                some.texts.append(text)
                some.lines.append(line)
                some.rows.append(rows)
                size += len(text)
            if size >= CHUNK:
                yield some
                some, size = Texts([], [], []), 0
        if place + 1 != len(self.firsts):
            raise DataError(f"{self.file}: changed while it was read; run again when nothing writes to it")
        yield some


def _known(file: Path, folder: Path, memory: int) -> Known:
    """Read a file for the first time."""
    folder.mkdir(parents=True)
    digests, amounts = Parts(folder, "digests", 1, width=2), Counter[str]()
    waiting, size = list[str](), 0
    for text, _ in _texts_of(file, amounts):
        waiting.append(text)
        size += len(text) + STRING_BYTES
        amounts.update(texts=1, characters=len(text))
        if size >= CHUNK:
            digests.append(digests_of(waiting), 0)
            waiting, size = [], 0
    digests.append(digests_of(waiting), 0)
    if (bad := amounts["bad"]) and not amounts["rows"]:
        first = next(record for record in read_rows(file) if isinstance(record, Bad))
        raise DataError(
            f"{file}: none of its {bad:,} rows can be read, so there is nothing to look for; the first: {first}"
        )
    if bad:
        say(f"{file}: {bad:,} rows could not be read and are not looked for; see why with `lathe check {file}`")
    count = amounts["texts"]
    twins = first_of_equals(digests.read(0, 2**16), count, Room(folder, memory))
    firsts = mapped(folder, "firsts", np.int64, count)
    for start in range(0, count, 2**20):
        run = twins[start : start + 2**20]
        np.add.at(firsts, np.where(run == NONE, np.arange(start, start + len(run)), run), 1)
    return Known(file, amounts["characters"], firsts)


def _texts_of(file: Path, amounts: Counter[str]) -> Iterator[tuple[str, int]]:
    """Every text in the rows of a file, however deep, once a row, and its line; rows that are ``bad`` are counted."""
    for record in read_rows(file):
        if isinstance(record, Bad):
            amounts["bad"] += 1
            continue
        amounts["rows"] += 1
        yield from ((text, record.line) for text in sorted(set(_strings(record.row))))  # a set has no order


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _grams_of(some: Texts, file: int, sizes: Sizes) -> Iterator[tuple[int, Rows]]:
    """The n-grams of ``words``, and shorter texts that are long enough, by their length.

    Rows are value, file, line, place and how many rows the n-gram counts for: 0 where its text had it before.  [G, 5]
    """
    values, counts = shingles(some.texts, sizes.words)
    owners = np.repeat(np.arange(len(some.texts)), counts)
    places = np.arange(len(values)) + owners  # with a gap between two texts
    words = np.full(len(some.texts), sizes.words)
    for index in np.flatnonzero(counts == 1).tolist():  # the others have more words than that
        words[index] = len(word_bounds(some.texts[index]))
    lengths = words[owners]
    lines, rows = np.array(some.lines, np.uint64)[owners], np.array(some.rows, np.uint64)[owners]
    weights = np.where(lengths < sizes.words, rows, np.uint64(1))
    order = np.lexsort((values, owners))
    repeats = (values[order][1:] == values[order][:-1]) & (owners[order][1:] == owners[order][:-1])
    weights[order[1:][repeats]] = 0
    found = np.column_stack((values, np.full(len(values), file, np.uint64), lines, places.astype(np.uint64), weights))
    for length in range(sizes.min_words, sizes.words + 1):
        if (chosen := lengths == length).any():
            yield length, found[chosen]


def _save(folder: Path, length: int, grams: Parts, max_rows: int, memory: int) -> int:
    """Write each n-gram once, with the first of its rows; how many are in too many rows and left out."""
    count = left_out = 0
    with (folder / f"{length}-values").open("wb") as values, (folder / f"{length}-rows").open("wb") as rows:
        for part in range(grams.count):
            held = np.zeros((0, 5), np.uint64)
            for run in grams.read(part, memory // GRAM_BYTES):
                held = _merged(np.concatenate((held, run)))
            kept = held[held[:, 4] <= max_rows]
            left_out += len(held) - len(kept)
            count += len(kept)
            put(kept[:, 0], values)
            put(kept[:, 1:4], rows)
    if not count:
        (folder / f"{length}-values").unlink()
        return left_out
    slots = mapped(folder, f"{length}-slots", np.bool_, 1 << (SLOTS * count).bit_length())
    numbers = np.memmap(folder / f"{length}-values", np.uint64, "r")
    for start in range(0, count, 2**20):
        slots[_slot(np.asarray(numbers[start : start + 2**20]), len(slots))] = True
    return left_out


def _merged(rows: Rows) -> Rows:
    """Equal n-grams as one, with the first of their rows and the sum of what they count for."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    firsts = np.flatnonzero(np.concatenate(([True], rows[1:, 0] != rows[:-1, 0]))[: len(rows)])
    found = rows[firsts]
    found[:, 4] = np.add.reduceat(rows[:, 4], firsts) if len(rows) else 0
    return found


def _slot(values: Hashes, count: int) -> Numbers:
    return values >> np.uint64(64 - (count.bit_length() - 1))
