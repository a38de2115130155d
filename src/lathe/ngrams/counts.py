"""Every n-gram of a stream, up to some order, by one counting sort for each order.

Places of a stream that are sorted by the (n-1)-grams that start there, and then by the word before each, are sorted by
n-grams. So those with the same context (all words but the last) stand together, their last words rising.

An n-gram of the highest order has its count; a shorter one has the number of different words before it (its adjusted
count), but its count where nothing stands before it: where it begins with ``<s>``.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.errors import DataError
from lathe.core.native import library
from lathe.core.native.ngrams import NGRAM, Places
from lathe.ngrams.units import BOS, Ids, Lengths

NGrams: TypeAlias = np.ndarray[Any, Any]
Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]


class Counts(NamedTuple):
    """The M n-grams of one order, sorted."""

    ngrams: NGrams  # [M] NGRAM
    begins: Numbers  # [contexts + 1] where those with each context begin: each n-gram of the order below


def count(stream: Ids, order: int, vocab_size: int) -> list[Counts]:
    """n-grams of 1 to ``order`` words; none goes beyond its text.

    >>> bigrams = count(np.array([1, 3, 4, 2, 1, 3, 2], np.int32), 2, 5)[1]
    >>> bigrams.ngrams[["context", "word", "count"]].tolist()
    [(1, 3, 2), (3, 2, 1), (3, 4, 1), (4, 2, 1)]
    """
    if len(stream) >= 1 << 31:
        raise DataError(
            f"{len(stream):,} words, {(1 << 31) - 1:,} are the most that can be counted; take a part of the text"
        )
    places = Places(stream, vocab_size) if library() is not None else PlacesOfNumpy(stream, vocab_size)
    words = np.zeros(vocab_size, NGRAM)
    words["word"] = np.arange(vocab_size)
    words["count"] = places.word_counts
    levels = [Counts(words, np.array([0, vocab_size], np.uint32))]
    for _ in range(order - 1):
        levels.append(Counts(*places.lengthen(levels[-1].ngrams)))
    words["count"][BOS] = 0  # it is never predicted
    return levels


def begins_of(contexts: Ids | Lengths, size: int) -> Numbers:
    """Where the n-grams of each context begin, and where the last ones end; ``contexts`` rise.  [size + 1]"""
    return np.append(0, np.cumsum(np.bincount(contexts, minlength=size))).astype(np.uint32)


class PlacesOfNumpy:
    """What `lathe.core.native.ngrams.Places` is, without C."""

    def __init__(self, stream: Ids, vocab_size: int) -> None:
        self._stream = stream
        order = np.argsort(stream, kind="stable")
        self._at = order[np.searchsorted(stream[order], 0) :]
        self._ngrams = stream[self._at].astype(np.int64)  # of each place
        self._keys, self._base = np.arange(vocab_size), 1  # of each n-gram: its first word and its suffix
        self.word_counts = np.bincount(self._ngrams, minlength=vocab_size)

    def lengthen(self, below: NGrams) -> tuple[NGrams, Numbers]:
        goes_on = (self._at > 0) & (self._stream[self._at] != BOS) & (self._stream[self._at - 1] >= 0)
        at, suffixes = self._at[goes_on] - 1, self._ngrams[goes_on]
        order = np.argsort(self._stream[at], kind="stable")
        self._at = at[order]
        keys = self._stream[self._at] * np.int64(len(below)) + suffixes[order]
        is_new = np.diff(keys, prepend=-1) != 0
        self._ngrams = np.cumsum(is_new) - 1
        heads = np.flatnonzero(is_new)
        first, suffix = np.divmod(keys[heads], len(below))
        context = np.searchsorted(self._keys, first * self._base + below["context"][suffix])
        before = np.bincount(suffix, minlength=len(below))
        below["count"] = np.where(before, before, below["count"])
        self._keys, self._base = keys[heads], len(below)
        ngrams = np.empty(len(heads), NGRAM)
        ngrams["word"], ngrams["context"] = below["word"][suffix], context
        ngrams["suffix"], ngrams["count"] = suffix, np.diff(heads, append=len(keys))
        return ngrams, begins_of(context, len(below))
