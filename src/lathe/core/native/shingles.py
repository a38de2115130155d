"""Shingles of texts, their minima and what sets of them share, in C; ask `library` first whether there is any."""

import ctypes
from typing import Any, TypeAlias

import numpy as np

from lathe.core.native.calls import operations

Array: TypeAlias = np.ndarray[Any, Any]
SIGNATURE = 64
"""Numbers in a signature: what `minima` in shingles.c is written for."""


def shingles(codes: Array, ends: Array, kinds: Array, size: int) -> tuple[Array, Array]:
    """Hashes of the word n-grams of texts, and how many each text has.  [S] uint64, [D] int64

    ``codes`` [C] uint32: code points of all texts, in lower case but for ASCII; ``ends`` [D] int64: where each
    one ends; ``kinds`` [65536] uint8: what each code point of the basic plane is.
    """
    values, counts = np.empty(len(codes), np.uint64), np.empty(len(ends), np.int64)
    operations().shingles(
        _at(codes), _at(ends), _size(ends), _at(kinds), ctypes.c_int64(size), _at(values), _at(counts)
    )
    return values[: counts.sum()], counts


def minima(values: Array, counts: Array, factors: Array) -> Array:
    """For each text and factor (uint32) the least product with the upper half of a value.  [D, SIGNATURE] uint32"""
    out = np.empty((len(counts), SIGNATURE), np.uint32)
    operations().minima(_at(values), _at(counts), _size(counts), _at(factors), _at(out))
    return out


def shared(values: Array, starts: Array, sizes: Array, pairs: Array) -> Array:
    """How many values two sorted sets have in common, for each pair of sets.  [P] int64"""
    found = np.empty(len(pairs), np.int64)
    operations().shared_values(_at(values), _at(starts), _at(sizes), _at(pairs), _size(pairs), _at(found))
    return found


def _at(x: Array) -> ctypes.c_void_p:
    assert x.flags.c_contiguous, "C reads numbers that stand side by side"
    return ctypes.c_void_p(x.ctypes.data)


def _size(x: Array) -> ctypes.c_int64:
    return ctypes.c_int64(len(x))
