"""Counter-based randomness: every draw is a function of (seed, epoch, row key, purpose, position).

There is no generator state to save, so the n-th batch is the same whatever came before it, in whatever order, process
or micro-batch. The mixing function is splitmix64 (Steele, Lea and Flood, 2014).
"""

import hashlib
from typing import Any, TypeAlias

import numpy as np

Seeds: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]

_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: the increment of splitmix64


def mix(values: Seeds) -> Seeds:
    """One splitmix64 round: a bijection of 64-bit words whose output bits all depend on all input bits."""
    z = values + np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def word(text: str) -> int:
    """64 bits of the sha256 of ``text``: names become keys."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")


def row_keys(digest: str, count: int) -> Seeds:
    """Key of each row of a data set: its file's digest and its index.  [count]"""
    return mix(mix(np.full(count, word(digest), np.uint64)) ^ np.arange(count, dtype=np.uint64))


def row_seeds(seed: int, epoch: int, keys: Seeds) -> Seeds:
    """What ``collate`` receives: one seed for each row, fresh in each epoch.  [B]"""
    return mix(mix(np.asarray(keys, np.uint64) ^ np.uint64(word(f"{seed}/{epoch}"))))


def uniform(seeds: Seeds, purpose: str, size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Uniform numbers in [0, 1), independent for each seed, purpose and position.  [B, size]"""
    rows = mix(np.asarray(seeds, np.uint64) ^ np.uint64(word(purpose)))[:, None]
    bits = mix(mix(rows + np.arange(size, dtype=np.uint64)[None, :] * np.uint64(_GOLDEN)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def scalar_seed(*parts: int | str) -> int:
    """One 63-bit seed out of several numbers and names, for ``torch.manual_seed``."""
    return word("/".join(str(part) for part in parts)) >> 1


def permutation(count: int, *parts: int | str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A shuffle of ``range(count)`` that depends on ``parts`` alone.  [count]"""
    return np.argsort(uniform(np.array([scalar_seed(*parts)], np.uint64), "permutation", count)[0], kind="stable")


def is_chosen(text: str, ratio: float) -> bool:
    """Whether ``text`` belongs to a sample of this share: in or out whatever the other texts are."""
    return word(f"chosen/{text}") < ratio * 2**64
