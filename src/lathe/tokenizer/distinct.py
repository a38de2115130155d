"""A bound on how many different words a trainer meets: it holds each of them, and their number never stops growing."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from lathe.core.scripts import UNSPACED_CLASS

_WORD = re.compile(rf"[^\W_{UNSPACED_CLASS[1:-1]}]+")
"""A run of letters and digits; characters of scripts without spaces are cut apart for all trainers, and are few."""


class Bounded(NamedTuple):
    """Texts without some of their rarest words."""

    texts: Sequence[str]
    distinct: int  # different words that are left
    left_out: int  # words, each as often as it stands there
    words: int  # that there were

    @property
    def ratio(self) -> float:
        return self.left_out / max(self.words, 1)


def bounded(texts: Sequence[str], most: int) -> Bounded:
    """The texts with at most ``most`` different words; never more than twice as many are held.

    Lossy counting (Manku and Motwani, 2002): whenever there are more, the rarest so far are forgotten. A word that is
    met again counts from 1, so rare words may go that another order of the texts would keep, frequent ones never.
    """
    counts, total = Counter[str](), 0
    for text in texts:
        found = _WORD.findall(text)
        total += len(found)
        counts.update(found)
        if len(counts) > 2 * most:
            counts = Counter(dict(counts.most_common(most)))
    if total == counts.total() and len(counts) <= most:
        return Bounded(texts, len(counts), 0, total)
    kept = {word for word, _ in counts.most_common(most)}
    left = [_only(text, kept) for text in texts]
    return Bounded(left, len(kept), total - sum(_count(text) for text in left), total)


def _only(text: str, kept: Collection[str]) -> str:
    return _WORD.sub(lambda match: match[0] if match[0] in kept else "", text)


def _count(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))
