"""Decontamination: documents that hold rows of evaluation data leave the corpus (Brown et al., 2020, appendix C).

Every text in a row of an evaluation file (question, choices, context, messages ...) is cut into word n-grams; a
document that has one of them word by word is taken for a copy. A text shorter than that is looked for as a whole.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.duplicates.index import Grams, Numbers, Sizes, folder_of, grams_in
from lathe.corpus.duplicates.shingles import shingles, word_bounds
from lathe.corpus.made_once import State, state_of
from lathe.corpus.protocol import Dropped, Verdict

MEMORY = 2**28
"""Bytes in which an index is made where it has gone since the run began."""


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

    def prepare(self, memory: int) -> None:
        folder_of(self.against, self._sizes, memory)

    def __call__(self, document: Document) -> Verdict:
        states = tuple(state_of(file) for file in self.against)
        hit = index_of(self.against, states, self._sizes).search(document.text)
        if hit is None:
            return document
        file = self.against[hit.file]
        return Dropped(document, f"overlaps {file}", twin=f"{file}:{hit.line}", overlap=hit.text)

    @property
    def _sizes(self) -> Sizes:
        return Sizes(self.words, self.min_words, self.max_rows)


class Hit(NamedTuple):
    """What a document has in common with a row of an evaluation file."""

    file: int
    line: int
    text: str  # as the document has it


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
    """The index of these files in these states."""
    del states  # of other files under the same names there is another index in memory
    return Index(grams_in(folder_of(files, sizes, MEMORY)))


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
