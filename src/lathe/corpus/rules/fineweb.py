"""The rules of FineWeb (Penedo et al. 2024, section 3.6), with their counterparts for Chinese."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from lathe.core.boundaries import CLOSING, STOPS
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped
from lathe.corpus.rules.facts import (
    Check,
    Facts,
    above,
    below,
    facts_of,
    judged,
    repeated,
    share,
)


@recipe
class FineWebQuality:
    """Drop texts of list items: few lines end as sentences do, most are short, some are repeated."""

    kind: Literal["fineweb_quality"] = "fineweb_quality"
    line_punct_thr: float | None = Field(0.12, ge=0, le=1)
    """Smallest share of lines that end with the end of a sentence."""
    short_line_thr: float | None = Field(0.67, ge=0, le=1)
    """Largest share of short lines."""
    short_line_length: int = Field(30, ge=0)
    """Most characters of a short line."""
    short_line_characters: int = Field(12, ge=0)
    """The same in scripts without spaces, where a character says more."""
    char_duplicates_ratio: float | None = Field(0.01, ge=0, le=1)
    """Largest share of characters in lines that were there before."""
    new_line_ratio: float | None = Field(0.3, ge=0)
    """Most line ends for each word."""
    new_line_character_ratio: float | None = Field(0.2, ge=0)
    """Most line ends for each word where each character is one."""

    def __call__(self, document: Document) -> Document | Dropped:
        return judged(document, "fineweb quality", self._checks(facts_of(document.text)))

    def _checks(self, facts: Facts) -> Iterator[Check]:
        lines = [line for line in facts.text.split("\n") if line.strip()]
        yield "empty", not lines
        is_unspaced, number = facts.is_unspaced, len(lines)
        ended = sum(1 for line in lines if line.endswith(_STOPS) or (is_unspaced and _ends(line)))
        yield "too few lines end a sentence", below(ended / number, self.line_punct_thr)
        short = self.short_line_characters if is_unspaced else self.short_line_length
        yield "too many short lines", above(share((len(line) <= short for line in lines), number), self.short_line_thr)
        ends = facts.text.count("\n")
        again = repeated(lines)[1] / (len(facts.text) - ends)
        yield "characters of repeated lines", above(again, self.char_duplicates_ratio)
        yield "too many lines for its words", self._is_list(facts, ends)

    def _is_list(self, facts: Facts, ends: int) -> bool:
        most = self.new_line_character_ratio if facts.is_unspaced else self.new_line_ratio
        if not above(ends / len(facts.pieces), most):
            return False  # and there are never fewer words
        return above(ends / facts.tally.words, most)


_STOPS = tuple(STOPS)


def _ends(line: str) -> bool:
    """Whether a Chinese line ends a sentence, a quotation or bracket being closed behind it."""
    return line.rstrip().rstrip(CLOSING).endswith((*_STOPS, "…", "；"))
