"""Decontamination: documents that hold rows of evaluation data leave the corpus (Brown et al., 2020, appendix C).

Every text in a row of an evaluation file (question, choices, context, messages ...) is cut into word n-grams; a
document that has one of them word by word is taken for a copy. A text shorter than that is looked for as a whole.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import Field

from lathe.core.data import Bad, read_rows
from lathe.core.digest import digest_of
from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import Document
from lathe.corpus.duplicates.shingles import Hashes, chunks, shingles, word_bounds
from lathe.corpus.made_once import State, made_once, state_of
from lathe.corpus.protocol import Dropped, Verdict

SLOTS = 16
"""Slots for each n-gram in the table that tells most n-grams of a document from those of the evaluation data."""

FORMAT = 2
"""Of the files of an index."""

Numbers: TypeAlias = np.ndarray[Any, Any]


@recipe
class DropContaminated:
    """Drop documents that share an n-gram of words (Chinese: of characters) with evaluation files, and list them.

    Case, punctuation and white space do not count. ``dropped.jsonl`` has file, line, document and what they share.
    """

    kind: Literal["drop_contaminated"] = "drop_contaminated"
    against: tuple[Path, ...] = Field(min_length=1)
    """Evaluation files, in any format of rows."""
    words: int = Field(13, ge=2)
    """Words, or characters of Chinese, that are the same one after another."""
    min_words: int = Field(8, ge=1)
    """A shorter text of an evaluation file is looked for as a whole if it has so many; what is shorter is anywhere."""
    max_rows: int = Field(10, ge=1)
    """Words that more texts of the evaluation files have, or a short text in more rows, are how tests are worded
    ("which of the following is true"), and not looked for."""

    def __post_init__(self) -> None:
        if self.min_words > self.words:
            raise RecipeError(
                f"min_words {self.min_words} is more than words {self.words}: no text is as short as that"
            )

    def inputs(self) -> list[Path]:
        return list(self.against)

    def prepare(self) -> "Index":
        states = tuple(state_of(file) for file in self.against)
        return index_of(self.against, states, Sizes(self.words, self.min_words, self.max_rows))

    def __call__(self, document: Document) -> Verdict:
        hit = self.prepare().search(document.text)
        if hit is None:
            return document
        file = self.against[hit.file]
        return Dropped(document, f"overlaps {file}", twin=f"{file}:{hit.line}", overlap=hit.text)


class Hit(NamedTuple):
    """What a document has in common with a row of an evaluation file."""

    file: int
    line: int
    text: str  # as the document has it


class Grams(NamedTuple):
    """The n-grams of one length; arrays that stay on disk and are shared by all processes."""

    size: int
    values: Hashes  # [G] sorted
    rows: Numbers  # [G, 3] int64: file and line that each one was first in, and where: one on, the next word begins it
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
    """The texts of an evaluation file, each once."""

    texts: list[str]  # [T]
    lines: Numbers  # [T] where it stands first
    rows: Numbers  # [T] how many rows have it


class Found(NamedTuple):
    """n-grams of one length, as often as they are there."""

    values: Hashes  # [G]
    rows: Numbers  # [G, 3] as in `Grams`
    weights: Numbers  # [G] how many rows each one counts for; 0 where its text had it before


class Index(NamedTuple):
    grams: tuple[Grams, ...]  # the longest first

    def search(self, text: str) -> Hit | None:
        """The longest run of words that one row of the evaluation data has, too; None where there is none."""
        for grams in self.grams:
            values, _ = shingles([text], grams.size)
            places = grams.found(values)
            hits = np.flatnonzero(places >= 0)
            if len(hits):
                return _longest(text, hits, grams.rows[places[hits]], grams.size)
        return None


@cache
def index_of(files: Sequence[Path], states: Sequence[State], sizes: Sizes) -> Index:
    """The index of these files in these states, made where the machine does not have it yet.

    Raises ``DataError`` where they hold nothing to look for.
    """
    del states  # of other files under the same names there is another index in memory
    known = [FORMAT, sizes, [digest_of(file) for file in files]]
    folder = made_once("evaluation", known, partial(_make, files, sizes))
    lengths = sorted((int(path.name.split("-")[0]) for path in folder.glob("*-values.npy")), reverse=True)
    return Index(tuple(_opened(folder, length) for length in lengths))


def _make(files: Sequence[Path], sizes: Sizes, folder: Path) -> None:
    """Write an index into a folder."""
    found: dict[int, list[Found]] = {}
    for number, file in enumerate(files):
        every = _texts_of(file)
        for part in chunks(every.texts):
            some = Texts(every.texts[part], every.lines[part], every.rows[part])
            for length, grams in _grams_of(some, number, sizes):
                found.setdefault(length, []).append(grams)
    if not found:
        names = ", ".join(map(str, files))
        raise DataError(
            f"{names}: no text has {sizes.min_words} words or more; nothing to look for: choose a lower min_words"
        )
    _save(folder, {length: Found(*map(np.concatenate, zip(*parts, strict=True))) for length, parts in found.items()},
          sizes.max_rows)  # fmt: skip


def _save(folder: Path, grams: dict[int, Found], max_rows: int) -> None:
    """Each n-gram once, with the first of its rows."""
    left_out = 0
    for length, (every, rows, weights) in grams.items():
        values, first, inverse = np.unique(every, return_index=True, return_inverse=True)
        is_test = np.bincount(inverse, weights) <= max_rows
        left_out += int((~is_test).sum())
        values, first = values[is_test], first[is_test]
        slots = np.zeros(1 << (SLOTS * len(values)).bit_length(), np.bool_)
        slots[_slot(values, len(slots))] = True
        if len(values):
            for name, numbers in (("values", values), ("rows", rows[first]), ("slots", slots)):
                np.save(folder / f"{length}-{name}.npy", numbers)
    if left_out:
        say(f"evaluation data: {left_out:,} runs of words are in more than {max_rows} rows, and are not looked for")


def _grams_of(some: Texts, file: int, sizes: Sizes) -> Iterator[tuple[int, Found]]:
    """The n-grams of ``words``, and shorter texts that are long enough, by their length."""
    values, counts = shingles(some.texts, sizes.words)
    owners = np.repeat(np.arange(len(some.texts)), counts)
    places = np.arange(len(values)) + owners  # with a gap between two texts
    words = np.full(len(some.texts), sizes.words)
    for index in np.flatnonzero(counts == 1).tolist():  # the others have more words than that
        words[index] = len(word_bounds(some.texts[index]))
    lengths = words[owners]
    rows = np.stack((np.full(len(values), file), some.lines[owners], places), 1)
    weights = np.where(lengths < sizes.words, some.rows[owners], 1)
    order = np.lexsort((values, owners))
    repeats = (values[order][1:] == values[order][:-1]) & (owners[order][1:] == owners[order][:-1])
    weights[order[1:][repeats]] = 0
    for length in range(sizes.min_words, sizes.words + 1):
        if (chosen := lengths == length).any():
            yield length, Found(values[chosen], rows[chosen], weights[chosen])


def _texts_of(file: Path) -> Texts:
    """Every text in the rows of a file, however deep."""
    lines, rows, bad = dict[str, int](), Counter[str](), 0
    for record in read_rows(file):
        if isinstance(record, Bad):
            bad += 1
            continue
        for text in set(_strings(record.row)):
            lines.setdefault(text, record.line)
            rows[text] += 1
    if bad:
        say(f"{file}: {bad:,} rows could not be read and are not looked for; see why with `lathe check {file}`")
    texts = sorted(lines, key=lambda text: (lines[text], text))  # a set has no order
    return Texts(texts, np.array([lines[text] for text in texts], np.int64), np.array([rows[text] for text in texts]))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _opened(folder: Path, size: int) -> Grams:
    values, rows, slots = (
        np.asarray(np.load(folder / f"{size}-{name}.npy", mmap_mode="r")) for name in ("values", "rows", "slots")
    )
    return Grams(size, values, rows, slots)


def _slot(values: Hashes, count: int) -> Numbers:
    return values >> np.uint64(64 - (count.bit_length() - 1))


def _longest(text: str, hits: Numbers, rows: Numbers, size: int) -> Hit:
    """The longest run of hits, one after another, in one row."""
    goes_on = (np.diff(hits) == 1) & (np.diff(rows, axis=0) == (0, 0, 1)).all(1)
    starts = np.concatenate(([0], np.flatnonzero(~goes_on) + 1))
    lengths = np.diff(np.concatenate((starts, [len(hits)])))
    best = starts[lengths.argmax()]
    bounds = word_bounds(text)
    first, last = bounds[hits[best]][0], bounds[hits[best] + lengths.max() - 1 + size - 1][1]
    file, line, _ = rows[best].tolist()
    lowered = text.lower()
    return Hit(file, line, (text if len(text) == len(lowered) else lowered)[first:last])
