"""Interpolated modified Kneser–Ney smoothing (Chen and Goodman, 1999), with the conventions of KenLM's ``lmplz``.

An n-gram of the highest order has its count; a shorter one has the number of different words before it (its adjusted
count), but its count where it begins with ``<s>``, before which nothing can stand. With a(c w) such a count,

    p(w | c) = (a(c w) - D(a(c w))) / S(c) + gamma(c) p(w | c without its first word)
    S(c) = sum_w a(c w)          gamma(c) = sum_w D(a(c w)) / S(c)

where D has a value for counts of 1, of 2, and of 3 and more. Below the unigrams lies the uniform distribution over all
words but ``<s>``, which is how ``<unk>`` gets its probability.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.native import library
from lathe.core.native.ngrams import smoothed as smooth_compiled
from lathe.ngrams.counts import Counts, Numbers
from lathe.ngrams.units import BOS, Ids

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the text is too small, or too regular, to tell them."""


class Smoothed(NamedTuple):
    """The n-grams of one order: their probabilities, and the weight that each gives to shorter ones as a context."""

    p: Floats  # [M]
    backoff: Floats  # [M] gamma; 1 where nothing follows
    discounts: tuple[float, float, float]  # for counts of 1, 2, 3 and more
    is_fallback: bool  # whether the discounts could not be told from the text


def estimate(levels: Sequence[Counts]) -> list[Smoothed]:
    """Probabilities of all n-grams of a text."""
    smoothed: list[Smoothed] = []
    vocab_size = len(levels[0].words)
    uniform = np.full(1, 1 / (vocab_size - 1))
    for n, level in enumerate(levels, 1):
        adjusted = adjusted_counts(levels, n)
        discounts, is_fallback = _discounts(adjusted)
        contexts = len(levels[n - 2].words) if n > 1 else 1
        lower = smoothed[-1].p if smoothed else uniform
        smooth = _smooth if library() is None else smooth_compiled
        of_counts = np.array([0.0, *discounts])
        p, gamma = smooth(adjusted, level.contexts, level.suffixes, of_counts, lower, contexts)
        if smoothed:
            smoothed[-1] = smoothed[-1]._replace(backoff=gamma)
        else:
            p[BOS] = 0.0
        smoothed.append(Smoothed(p, np.ones(len(p)), discounts, is_fallback))
    return smoothed


def _smooth(
    counts: Numbers, contexts: Ids, suffixes: Ids, discounts: Floats, lower: Floats, size: int
) -> tuple[Floats, Floats]:
    """p and gamma, as `lathe.core.native.ngrams.smoothed` gives them."""
    taken = discounts[np.minimum(counts, 3)]  # [M]
    total, weight = np.bincount(contexts, counts, size), np.bincount(contexts, taken, size)  # S  [size]
    gamma = np.divide(weight, total, out=np.ones(size), where=total > 0)
    return (counts - taken) / total[contexts] + gamma[contexts] * lower[suffixes], gamma


def adjusted_counts(levels: Sequence[Counts], n: int) -> Numbers:
    """a(g) of the n-grams of order ``n``.  [M]"""
    level = levels[n - 1]
    if n == len(levels):
        adjusted = level.counts.copy()
    else:
        different = np.bincount(levels[n].suffixes, minlength=len(level.words))
        adjusted = np.where(level.begins, level.counts, different)
    if n == 1:
        adjusted[BOS] = 0  # it is never predicted
    return adjusted


def _discounts(adjusted: Numbers) -> tuple[tuple[float, float, float], bool]:
    """D(k) = k - (k + 1) Y t(k + 1) / t(k) with Y = t1 / (t1 + 2 t2), where t(k) n-grams have the count k."""
    t = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].astype(np.float64)
    if not t[1:4].all():
        return FALLBACK, True
    y = t[1] / (t[1] + 2 * t[2])
    one, two, three = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    inside = 0 <= one <= 1 and 0 <= two <= 2 and 0 <= three <= 3
    return ((float(one), float(two), float(three)), False) if inside else (FALLBACK, True)
