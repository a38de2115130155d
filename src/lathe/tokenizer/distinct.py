"""A bound on how many different words a trainer meets: it holds each of them, and their number never stops growing."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from lathe.core.report import say
from lathe.core.scripts import UNSPACED_CLASS

_WORD = re.compile(rf"[^\W_{UNSPACED_CLASS[1:-1]}]+")
"""A run of letters and digits; characters of scripts without spaces are cut apart for all trainers, and are few."""


class Bounded(NamedTuple):
    """Texts without some of their rarest words."""

    texts: Sequence[str]
    distinct: int  # different words that are left
    left_out: int  # words, each as often as it stands there
    words: int  # that there were


class Counted(NamedTuple):
    """How often words stand in a text."""

    counts: Counter[str]
    words: int  # that there were, those included that were forgotten

    @property
    def left_out(self) -> int:
        return self.words - self.counts.total()


def counted(found: Iterable[Sequence[str]], most: int) -> Counted:
    """The words of texts; at most ``most`` different ones are told, and never more than twice as many are held.

    Lossy counting (Manku and Motwani, 2002): whenever there are more, the rarest so far are forgotten. A word that is
    met again counts from 1, so rare words may go that another order of the texts would keep, frequent ones never.
    """
    counts, total = Counter[str](), 0
    for words in found:
        total += len(words)
        counts.update(words)
        if len(counts) > 2 * most:
            counts = Counter(dict(counts.most_common(most)))
    return Counted(counts if len(counts) <= most else Counter(dict(counts.most_common(most))), total)


def bounded(texts: Sequence[str], most: int) -> Bounded:
    """The texts with at most ``most`` different words."""
    kept, total = counted(map(_WORD.findall, texts), most)
    if kept.total() == total:
        return Bounded(texts, len(kept), 0, total)
    left = [_only(text, kept) for text in texts]
    return Bounded(left, len(kept), total - sum(_count(text) for text in left), total)


def _only(text: str, kept: Collection[str]) -> str:
    return _WORD.sub(lambda match: match[0] if match[0] in kept else "", text)


def _count(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))


def told(left_out: int, words: int) -> dict[str, float]:
    """What the scores have of words that were left out, and what is said of it; {} where none was."""
    if not left_out:
        return {}
    ratio = left_out / words
    say(f"  without {left_out:,} rare words, {ratio:.1%} of all, beyond max_distinct")
    return {"left_out_words": left_out, "left_out_ratio": round(ratio, 4)}
