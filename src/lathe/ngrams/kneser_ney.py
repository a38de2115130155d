"""Interpolated modified Kneser–Ney smoothing (Chen and Goodman, 1999), with the conventions of KenLM's ``lmplz``.

With a(c w) the adjusted count of an n-gram, see `lathe.ngrams.counts`,

    p(w | c) = (a(c w) - D(a(c w))) / S(c) + gamma(c) p(w | c without its first word)
    S(c) = sum_w a(c w)          gamma(c) = sum_w D(a(c w)) / S(c)

where D has a value for counts of 1, of 2, and of 3 and more. Below the unigrams lies the uniform distribution over all
words but ``<s>``, which is how ``<unk>`` gets its probability.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.native import library
from lathe.core.native.ngrams import counts_of_counts, smoothed
from lathe.core.runtime import cores
from lathe.ngrams.counts import Counts, NGrams, Numbers
from lathe.ngrams.units import BOS, Lengths

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Doubles: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Discounts: TypeAlias = tuple[float, float, float]

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the text is too small, or too regular, to tell them."""


class Smoothed(NamedTuple):
    """The n-grams of one order: their probabilities, and the weight that each gives to shorter ones as a context."""

    log_p: Floats  # [M]
    log_backoff: Floats  # [M] log gamma; 0 where nothing follows; [0] of the highest order
    discounts: Discounts  # for counts of 1, 2, 3 and more
    is_fallback: bool  # whether the discounts could not be told from the text


def estimate(levels: Sequence[Counts]) -> list[Smoothed]:
    """Probabilities of all n-grams of a text."""
    told = [_discounts(level.ngrams) for level in levels]
    p, gamma = [np.full(1, 1 / (len(levels[0].ngrams) - 1), np.float32)], []
    smooth = _smoothed if library() is None else smoothed
    for level, discounts in zip(levels, told, strict=True):
        next_p, gamma_below = smooth(level.ngrams, level.begins, np.array([0.0, *(discounts or FALLBACK)]), p[-1])
        p.append(next_p)
        gamma.append(gamma_below)
    p[1][BOS] = 0.0
    with ThreadPoolExecutor(cores()) as threads:
        log_p, log_backoff = list(threads.map(_log, p[1:])), list(threads.map(_log, gamma[1:]))
    log_backoff.append(np.zeros(0, np.float32))
    rows = zip(log_p, log_backoff, told, strict=True)
    return [Smoothed(log, backoff, found or FALLBACK, found is None) for log, backoff, found in rows]


def _smoothed(ngrams: NGrams, begins: Numbers, discounts: Doubles, lower: Floats) -> tuple[Floats, Floats]:
    """What `lathe.core.native.ngrams.smoothed` gives."""
    size, counts = len(begins) - 1, ngrams["count"]
    contexts = np.repeat(np.arange(size), np.diff(begins))
    taken = discounts[np.minimum(counts, 3)]  # [M]
    total, weight = np.bincount(contexts, counts, size), np.bincount(contexts, taken, size)  # S  [size]
    gamma = np.divide(weight, total, out=np.ones(size), where=total > 0)
    p = (counts - taken) / total[contexts] + gamma[contexts] * lower[ngrams["suffix"]]
    return p.astype(np.float32), gamma.astype(np.float32)


def _log(p: Floats) -> Floats:
    """In place."""
    with np.errstate(divide="ignore"):  # of p(<s>)
        return np.log(p, out=p)


def _discounts(ngrams: NGrams) -> Discounts | None:
    """D(k) = k - (k + 1) Y t(k + 1) / t(k) with Y = t1 / (t1 + 2 t2), where t(k) n-grams have the count k.

    None where the text cannot tell them.
    """
    t = dict(enumerate((counts_of_counts if library() is not None else _counts_of_counts)(ngrams).tolist(), 1))
    if not t[1] or not t[2] or not t[3]:
        return None
    y = t[1] / (t[1] + 2 * t[2])
    one, two, three = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    return (one, two, three) if 0 <= one <= 1 and 0 <= two <= 2 and 0 <= three <= 3 else None


def _counts_of_counts(ngrams: NGrams) -> Lengths:
    """What `lathe.core.native.ngrams.counts_of_counts` gives."""
    return np.bincount(np.minimum(ngrams["count"], 5), minlength=6)[1:5]
