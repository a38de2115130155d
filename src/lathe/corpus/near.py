"""Near duplicates by MinHash and locality-sensitive hashing (Broder, 1997; Leskovec, Rajaraman and Ullman, ch. 3).

Two texts are near duplicates when the Jaccard similarity of their shingle sets is at least a threshold. Signatures only
propose pairs; every proposed pair is verified on the sets themselves, so no text is dropped on an estimate.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.keyed import mix
from lathe.corpus.shingles import Counts, Hashes, chunks, shingles

Signatures: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
Pairs: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

BANDS, ROWS = 16, 4
"""A pair of similarity s is proposed with probability 1 - (1 - s**ROWS)**BANDS: 0.64 at 0.5, 0.9998 at 0.8."""

SLACK = 0.2
"""A pair whose estimate is this far below the threshold (more than 3 standard errors) is not verified."""


class Sketch(NamedTuple):
    """The texts that have words, each with its signature."""

    texts: Counts  # [D] index of the text
    signatures: Signatures  # [D, BANDS * ROWS]


def near_duplicates(texts: Sequence[str], threshold: float) -> dict[int, int]:
    """Index of each near duplicate -> the earlier text that it repeats.

    In rounds: among the texts still kept, each is compared with the first text of each of its buckets and with the one
    before it, so the work grows with the number of texts, not with its square, however large a bucket is.
    """
    sketch, twins = sketch_of(texts), dict[int, int]()
    tried = np.zeros(0, np.int64)  # pairs that were verified before, as earlier * D + later
    alive = np.arange(len(sketch.texts))
    while True:
        pairs = alive[_proposed(sketch.signatures[alive])]
        codes = pairs[:, 0] * len(sketch.texts) + pairs[:, 1]
        new = ~np.isin(codes, tried)
        tried = np.concatenate((tried, codes[new]))
        likely = _likely(sketch.signatures, pairs[new], threshold)
        found = _first_of(_verified(texts, sketch.texts[likely], threshold))
        if not found:
            return twins
        twins |= found
        alive = alive[~np.isin(sketch.texts[alive], list(found))]


def clusters(twins: dict[int, int]) -> int:
    """How many kept texts have near duplicates."""
    return len(set(twins.values()) - set(twins))


def sketch_of(texts: Sequence[str]) -> Sketch:
    """MinHash signatures, ``BANDS * ROWS`` numbers for each text that has words."""
    parts = [_sketch(texts[part], part.start) for part in chunks(texts)]
    indices = [part.texts for part in parts] or [np.zeros(0, np.int64)]
    signatures = [part.signatures for part in parts] or [np.zeros((0, BANDS * ROWS), np.uint32)]
    return Sketch(np.concatenate(indices), np.concatenate(signatures))


def jaccard(a: Hashes, b: Hashes) -> float:
    """|A and B| / |A or B| of two sets, each given as sorted distinct values."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def _sketch(texts: Sequence[str], first: int) -> Sketch:
    values, counts = shingles(texts)
    owners = np.flatnonzero(counts)
    signatures = np.zeros((len(owners), BANDS * ROWS), np.uint32)
    if len(owners):
        starts = np.concatenate(([0], np.cumsum(counts[owners])[:-1]))
        for column, factor in enumerate(_factors()):
            signatures[:, column] = np.minimum.reduceat((values * factor >> np.uint64(32)).astype(np.uint32), starts)
    return Sketch(owners + first, signatures)


def _factors() -> Hashes:
    """Odd multipliers: each orders the (already mixed) shingles in its own way (Dietzfelbinger et al., 1997)."""
    return mix(np.arange(BANDS * ROWS, dtype=np.uint64)) | np.uint64(1)


def _proposed(signatures: Signatures) -> Pairs:
    """Pairs (earlier, later) that share a bucket in at least one band.  [P, 2]"""
    if len(signatures) < 2:
        return np.zeros((0, 2), np.int64)
    found = []
    for band in np.split(signatures.astype(np.uint64), BANDS, axis=1):
        bucket = mix(mix(band[:, 0] << np.uint64(32) | band[:, 1]) ^ (band[:, 2] << np.uint64(32) | band[:, 3]))
        order = np.argsort(bucket, kind="stable")  # stable: inside a bucket in the order of the texts
        repeats = np.concatenate(([False], bucket[order][1:] == bucket[order][:-1]))
        leaders = order[np.maximum.accumulate(np.where(repeats, 0, np.arange(len(order))))]
        later = order[repeats]
        found += [np.stack((leaders[repeats], later), 1), np.stack((order[np.flatnonzero(repeats) - 1], later), 1)]
    return np.unique(np.concatenate(found), axis=0)


def _likely(signatures: Signatures, pairs: Pairs, threshold: float) -> Pairs:
    """Pairs whose estimated similarity, the share of equal signature numbers, is not far below the threshold."""
    parts = [pairs[start : start + 2**16] for start in range(0, len(pairs), 2**16)]
    return np.concatenate(
        [np.zeros((0, 2), np.int64)]
        + [part[(signatures[part[:, 0]] == signatures[part[:, 1]]).mean(1) >= threshold - SLACK] for part in parts]
    )


def _verified(texts: Sequence[str], pairs: Pairs, threshold: float) -> Pairs:
    """Pairs whose sets are that similar."""
    sets = _sets(texts, np.unique(pairs))
    return pairs[[jaccard(sets[a], sets[b]) >= threshold for a, b in pairs.tolist()]] if len(pairs) else pairs


def _sets(texts: Sequence[str], indices: Counts) -> dict[int, Hashes]:
    chosen, sets = [texts[i] for i in indices], dict[int, Hashes]()
    for part in chunks(chosen):
        values, counts = shingles(chosen[part])
        pieces = np.split(values, np.cumsum(counts)[:-1])
        sets |= {int(i): np.unique(piece) for i, piece in zip(indices[part], pieces, strict=True)}
    return sets


def _first_of(pairs: Pairs) -> dict[int, int]:
    """Drop the later text of each pair whose earlier text is itself kept."""
    twins: dict[int, int] = {}
    ordered: Iterable[list[int]] = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))].tolist()
    for earlier, later in ordered:
        if earlier not in twins:
            twins.setdefault(later, earlier)
    return twins
