"""Every n-gram of a stream, up to some order, by sorting: one sort of numbers for each order.

V words, M n-grams of an order, L ids of the stream. n-grams are sorted by their words, so that those with the same
context (all words but the last) stand together.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.native import library
from lathe.core.native.ngrams import lengthened
from lathe.ngrams.units import BOS, BREAK, Ids

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


class Counts(NamedTuple):
    """The n-grams of one order."""

    words: Ids  # [M] the last word
    contexts: Ids  # [M] its other words, by their place in the order below
    suffixes: Ids  # [M] all but its first word, by their place in the order below
    counts: Numbers  # [M] how often it occurs
    begins: np.ndarray[Any, np.dtype[np.bool_]]  # [M] whether its first word is <s>
    at: Ids  # [L] the n-gram that starts at each place of the stream; -1 where none does


def count(stream: Ids, order: int, vocab_size: int) -> list[Counts]:
    """n-grams of 1 to ``order`` words; none goes beyond its text.

    >>> bigrams = count(np.array([1, 3, 4, 2, 1, 3, 2], np.int32), 2, 5)[1]
    >>> bigrams.contexts.tolist(), bigrams.words.tolist(), bigrams.counts.tolist()
    ([1, 3, 3, 4], [3, 2, 4, 2], [2, 1, 1, 1])
    """
    levels = [_unigrams(stream, vocab_size)]
    if library() is not None:
        return levels + _compiled(stream, order, levels[0])
    starts = np.flatnonzero(stream != BREAK)  # of the n-grams of the order below
    for n in range(2, order + 1):
        starts = starts[starts + n <= len(stream)]
        last = stream[starts + n - 1]
        inside = (last != BOS) & (last != BREAK)
        starts, last = starts[inside], last[inside]
        levels.append(_longer(levels[-1], starts, last, vocab_size))
    return levels


def _unigrams(stream: Ids, vocab_size: int) -> Counts:
    words = np.arange(vocab_size, dtype=np.int32)
    nothing = np.zeros(vocab_size, np.int32)
    counts = np.bincount(stream[stream != BREAK], minlength=vocab_size)
    return Counts(words, nothing, nothing, counts, words == BOS, stream)


def _compiled(stream: Ids, order: int, unigrams: Counts) -> list[Counts]:
    """The same in C, by refining the order of the positions; much faster, since most n-grams are few."""
    longer: list[Counts] = []
    shorter = unigrams
    both = np.sort(stream.astype(np.int64) << 32 | np.arange(len(stream)))
    positions = (both[np.searchsorted(both, 0) :] & 0xFFFFFFFF).astype(np.int32)
    starts = np.append(0, np.cumsum(unigrams.counts))
    for n in range(2, order + 1):
        found = lengthened(stream, n, positions, starts)
        positions, starts = found.order, found.starts
        suffixes = shorter.at[positions[starts[:-1]] + 1]
        begins = shorter.begins[found.contexts]
        shorter = Counts(found.words, found.contexts, suffixes, np.diff(starts), begins, found.at)
        longer.append(shorter)
    return longer


def _longer(shorter: Counts, starts: Numbers, last: Ids, vocab_size: int) -> Counts:
    """n-grams that start at ``starts`` and end in ``last``, whose contexts are known."""
    keys = shorter.at[starts].astype(np.int64) * vocab_size + last
    found = grouped(keys, len(shorter.words) * vocab_size)
    contexts, words = np.divmod(found.keys, vocab_size)
    first = starts[found.first]
    at = np.full(len(shorter.at), -1, np.int32)
    at[starts] = found.group
    return Counts(
        words.astype(np.int32),
        contexts.astype(np.int32),
        shorter.at[first + 1],
        found.counts,
        shorter.begins[contexts],
        at,
    )


class Grouped(NamedTuple):
    """The different values of an array, rising."""

    keys: Numbers  # [G]
    counts: Numbers  # [G]
    first: Numbers  # [G] a place where each stands
    group: Ids  # [N] which of them each place holds


def grouped(keys: Numbers, bound: int) -> Grouped:
    """Like ``numpy.unique`` for numbers from 0 to below ``bound``: a key and its place are sorted as one number.

    >>> grouped(np.array([5, 3, 5]), 6).counts.tolist()
    [1, 2]
    """
    bits = max(len(keys) - 1, 0).bit_length()
    if bound <= 1 << 63 - bits:
        both = np.sort(keys << bits | np.arange(len(keys)))
        place, ordered = both & (1 << bits) - 1, both >> bits
    else:
        place = np.argsort(keys, kind="stable")
        ordered = keys[place]
    is_new = np.ones(len(keys), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    heads = np.flatnonzero(is_new)
    group = np.empty(len(keys), np.int32)
    group[place] = np.cumsum(is_new) - 1
    return Grouped(ordered[heads], np.diff(heads, append=len(keys)), place[heads], group)
