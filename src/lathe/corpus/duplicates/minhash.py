"""MinHash signatures and the buckets they fall into (Broder, 1997; Leskovec, Rajaraman and Ullman, ch. 3).

Signatures only propose pairs; every proposed pair is verified on the sets of shingles themselves, so that no text is
dropped on an estimate.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.keyed import mix
from lathe.core.native import library
from lathe.core.native import shingles as native
from lathe.corpus.duplicates.rows import Rows
from lathe.corpus.duplicates.shingles import Counts, Hashes, chunks, shingles

Signatures: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
Booleans: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

BANDS, ROWS = 16, 4
"""A pair of similarity s is proposed with probability 1 - (1 - s**ROWS)**BANDS: 0.64 at 0.5, 0.9998 at 0.8."""

SLACK = 0.2
"""A pair whose estimate is this far below the threshold (more than 3 standard errors) is not verified."""


class Sketch(NamedTuple):
    """Texts without words have no shingles, and a signature that means nothing."""

    signatures: Signatures  # [D, BANDS * ROWS]
    has_words: Booleans  # [D]


def sketch_of(texts: Sequence[str]) -> Sketch:
    """MinHash signatures, ``BANDS * ROWS`` numbers for each text."""
    signatures, has_words = np.zeros((len(texts), BANDS * ROWS), np.uint32), np.zeros(len(texts), np.bool_)
    for part in chunks(texts):
        values, counts = shingles(texts[part])
        signatures[part], has_words[part] = minima(values, counts), counts > 0
    return Sketch(signatures, has_words)


def minima(values: Hashes, counts: Counts) -> Signatures:
    """The least shingle of each text in each of the orders; 0 for a text without shingles.  [D, BANDS * ROWS]"""
    if library() is not None:
        return native.minima(values, counts, _factors())
    return minima_by_numpy(values, counts)


def minima_by_numpy(values: Hashes, counts: Counts) -> Signatures:
    owners = np.flatnonzero(counts)
    signatures = np.zeros((len(counts), BANDS * ROWS), np.uint32)
    if len(owners):
        starts = np.concatenate(([0], np.cumsum(counts[owners])[:-1]))
        halves = (values >> np.uint64(32)).astype(np.uint32)
        for column, factor in enumerate(_factors()):
            signatures[owners, column] = np.minimum.reduceat(halves * factor, starts)
    return signatures


def buckets_of(signatures: Signatures) -> Rows:
    """The bucket of each text in each band.  [BANDS, D]"""
    bands = signatures.astype(np.uint64).reshape(len(signatures), BANDS, ROWS).transpose(1, 2, 0)
    number = np.arange(BANDS, dtype=np.uint64)[:, None]
    return mix(mix(bands[:, 0] << np.uint64(32) | bands[:, 1]) ^ (bands[:, 2] << np.uint64(32) | bands[:, 3])) ^ number


def shared(values: Hashes, starts: Counts, sizes: Counts, pairs: Counts) -> Counts:
    """How many values two sets have in common, for each pair.  [P]

    Set s is sorted, without repeats, and at ``values[starts[s]:][:sizes[s]]``; pairs [P, 2].
    """
    if library() is not None:
        return native.shared(values, starts, sizes, pairs)
    return shared_by_numpy(values, starts, sizes, pairs)


def shared_by_numpy(values: Hashes, starts: Counts, sizes: Counts, pairs: Counts) -> Counts:
    def members(index: int) -> Hashes:
        return values[starts[index] : starts[index] + sizes[index]]

    common = [len(np.intersect1d(members(a), members(b), assume_unique=True)) for a, b in pairs.tolist()]
    return np.array(common, np.int64)


def _factors() -> Signatures:
    """Odd multipliers: each orders the (already mixed) shingles in its own way (Dietzfelbinger et al., 1997)."""
    return mix(np.arange(BANDS * ROWS, dtype=np.uint64)).astype(np.uint32) | np.uint32(1)
