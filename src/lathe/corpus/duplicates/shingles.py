"""Shingles: the sets of word 5-grams by which texts are compared, as hashes, for many texts at once.

A word is what ``core.scripts`` calls one, so an unspaced Chinese text is compared by its character 5-grams and a mixed
text by both. Case, punctuation and white space do not count.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.keyed import mix
from lathe.core.native import library
from lathe.core.native import shingles as native
from lathe.core.scripts import is_unspaced

Hashes: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Codes: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]

SIZE = 5
"""Words in a shingle."""

CHUNK = 2**18
"""Characters worked on at once: they stay in the processor's cache, and take little memory where there is no C."""

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)
_BREAK, _LETTER, _ALONE = 0, 1, 2


class Shingles(NamedTuple):
    """The shingles of D texts, text by text; a text shorter than a shingle is one, a text without words has none."""

    values: Hashes  # [S]
    counts: Counts  # [D] shingles of each text


def shingles(texts: Sequence[str], size: int = SIZE) -> Shingles:
    """Word n-grams of ``size``, in order, from many texts."""
    lowered = [text if text.isascii() else text.lower() for text in texts]  # for the others `_shingles` and C do it
    ends = np.cumsum([len(text) + 1 for text in lowered], dtype=np.int64)
    joined = "\n".join([*lowered, ""]) if lowered else ""  # each text ends with a break
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    if library() is not None:
        return Shingles(*native.shingles(codes, ends, _kinds(), size))
    return _shingles(codes, ends, size)


def _shingles(codes: Codes, ends: Counts, most: int) -> Shingles:
    words, owners = _words(np.where((codes >= ord("A")) & (codes <= ord("Z")), codes + 32, codes), ends)
    owner_counts = np.bincount(owners, minlength=len(ends))  # [D] words of each text
    values, texts_of = [], []
    for size in range(1, most + 1):
        starts = _gram_starts(owners, owner_counts, size, most)
        values.append(_grams(words, starts, size))
        texts_of.append(owners[starts])
    order = np.argsort(np.concatenate(texts_of), kind="stable")
    counts = np.bincount(np.concatenate(texts_of), minlength=len(ends))
    return Shingles(np.concatenate(values)[order], counts)


def word_bounds(text: str) -> Counts:
    """Where each word of a text in lower case begins and stops.  [W, 2]"""
    codes = np.frombuffer(f"{text.lower()}\n".encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.stack(_bounds(codes), 1)


def chunks(texts: Sequence[str]) -> Iterator[slice]:
    """Cut texts into runs of some ``CHUNK`` characters."""
    start, size = 0, 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= CHUNK:
            yield slice(start, index + 1)
            start, size = index + 1, 0
    if start < len(texts):
        yield slice(start, len(texts))


def _words(codes: Codes, ends: Counts) -> tuple[Hashes, Counts]:
    """Hash of every word, and the text it is in.  [W], [W]

    The hash of the characters c[s:e] is sum(c[i] * base**(i - s)), taken from one running sum over all texts.
    """
    starts, stops = _bounds(codes)
    running = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(mix(codes.astype(np.uint64)) * _powers(_BASE, len(codes)), out=running[1:])
    hashes = (running[stops] - running[starts]) * _powers(_INVERSE, len(codes))[starts]
    return mix(hashes), np.searchsorted(ends, starts, side="right")


def _bounds(codes: Codes) -> tuple[Counts, Counts]:
    """Where words begin and stop in texts that end with breaks.  [W], [W]"""
    kinds = np.where(codes > 0xFFFF, np.uint8(_ALONE), _kinds()[codes & 0xFFFF])
    letters = kinds == _LETTER
    after_letter = np.concatenate(([False], letters[:-1]))
    starts = np.flatnonzero((kinds == _ALONE) | (letters & ~after_letter))
    stops = starts + 1
    stops[letters[starts]] = np.flatnonzero(after_letter & ~letters)  # a break at the end: each run of letters stops
    return starts, stops


def _gram_starts(owners: Counts, owner_counts: Counts, size: int, most: int) -> Counts:
    """Where shingles of ``size`` words begin: shorter ones only where they are the whole text."""
    starts: Counts = np.arange(max(len(owners) - size + 1, 0), dtype=np.int64)
    inside = owners[starts] == owners[starts + size - 1]
    if size < most:
        inside &= owner_counts[owners[starts]] == size
    chosen: Counts = starts[inside]
    return chosen


def _grams(words: Hashes, starts: Counts, size: int) -> Hashes:
    total = np.zeros(len(starts), np.uint64)
    for offset in range(size):
        total = total * np.uint64(_BASE) + words[starts + offset]
    return mix(total)


def _powers(base: int, count: int) -> Hashes:
    """base**0, base**1, ... modulo 2**64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


@cache
def _kinds() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What each code point of the basic plane is; those above it (emoji, rare Han) all stand alone."""
    characters = map(chr, range(0x10000))
    return np.array([_ALONE if is_unspaced(c) else _LETTER if c.isalnum() else _BREAK for c in characters], np.uint8)
