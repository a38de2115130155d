"""What the quality rules count of a text: each thing once, however many rules ask for it."""

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache, cached_property, lru_cache
from typing import TypeAlias

import numpy as np

from lathe.core.boundaries import CLOSING, STOPS
from lathe.core.native.words import LETTER, MARK, Kinds, Tally, tally
from lathe.core.scripts import UNSPACED_CLASS
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped
from lathe.corpus.rules import words as english

MARKS = frozenset("!\"#%&'()*+,-./:;<=>?@[\\]^_`{|}~«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～").union(
    map(chr, (*range(9), *range(11, 13), *range(13, 32), *range(127, 160)))
)
"""What a word is not made of alone: the marks of CCNet's list (Wenzek et al. 2019), and control characters."""

Check: TypeAlias = tuple[str, bool]
"""What may be wrong with a text, and whether it is."""

_UNSPACED = re.compile(UNSPACED_CLASS)
_UNSPACED_WORD = re.compile(rf"{UNSPACED_CLASS}|(?:(?!{UNSPACED_CLASS})[^\W_])+|[^\w\s]|_")
_SENTENCE_END = re.compile(rf"(?:[{re.escape(STOPS)}；;]|……|\.\.\.)+[{re.escape(CLOSING)}]*")


class Facts:
    """Of one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def is_unspaced(self) -> bool:
        """Whether most of it is in a script without spaces between words, such as Chinese."""
        if _UNSPACED.search(self.text) is None:
            return False
        return len(_UNSPACED.findall(self.text)) > len(self.pieces)

    @cached_property
    def pieces(self) -> list[str]:
        """What is between white space: never more than words."""
        return self.text.split()

    @cached_property
    def words(self) -> str:
        """Words and marks, with one space between each two; in a script without spaces each character is a word."""
        return " ".join(_UNSPACED_WORD.findall(self.text)) if self.is_unspaced else english.spelled(self.pieces)

    @cached_property
    def tally(self) -> Tally:
        return tally(self.words, _kinds())

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def judged(document: Document, rule: str, checks: Iterable[Check]) -> Document | Dropped:
    """Dropped for the first thing that is wrong; what comes behind it is not looked at."""
    wrong = next((what for what, is_wrong in checks if is_wrong), None)
    return document if wrong is None else Dropped(document, f"{rule}: {wrong}")


@cache
def _kinds() -> Kinds:
    kinds = np.zeros(sys.maxunicode + 1, np.uint8)
    kinds[np.fromiter(map(str.isalpha, map(chr, range(len(kinds)))), np.bool_, len(kinds))] = LETTER
    kinds[[ord(mark) for mark in MARKS.union(STOPS)]] = MARK
    return kinds


@lru_cache(4)
def facts_of(text: str) -> Facts:
    """The rules of a chain ask one after another for the same text."""
    return Facts(text)


def sentences(line: str, is_unspaced: bool, enough: int) -> int:
    """Sentences of a line, counted no further than ``enough``.

    >>> sentences("今天下雨。我们不去了！", True, 5), sentences("It rains. We stay.", False, 5)
    (2, 2)
    """
    if not is_unspaced:
        return english.sentences(line, enough)
    return min(enough, sum(1 for part in _SENTENCE_END.split(line) if part.strip()))


def repeated(parts: Sequence[str]) -> tuple[int, int]:
    """Parts that were there before, and their characters.

    >>> repeated(["one", "two", "one", "one"])
    (2, 6)
    """
    once = set(parts)
    return len(parts) - len(once), sum(map(len, parts)) - sum(map(len, once))


def share(parts: Iterable[bool], of: int) -> float:
    return sum(parts) / of if of else 0.0


def above(value: float, bound: float | None) -> bool:
    """Whether there is a bound and a value above it."""
    return bound is not None and value > bound


def below(value: float, bound: float | None) -> bool:
    return bound is not None and value < bound
