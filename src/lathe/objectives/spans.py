"""Where spans of tokens lie, and what stands in their place: shared by all objectives that hide spans."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.types import Symbols

Draws: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


class Spans(NamedTuple):
    """Stretches of a row from left to right, none over another; one of size 0 lies between two tokens."""

    starts: Ids
    sizes: Ids

    @property
    def covered(self) -> Ids:
        """The positions inside, span by span.

        >>> Spans(np.array([0, 4]), np.array([2, 1])).covered.tolist()
        [0, 1, 4]
        """
        before = np.cumsum(self.sizes) - self.sizes
        inside: Ids = np.arange(self.sizes.sum()) + np.repeat(self.starts - before, self.sizes)
        return inside

    def replaced(self, ids: Ids, by: Ids) -> Ids:
        """``ids`` with one id of ``by`` in the place of each span.

        >>> Spans(np.array([0, 3]), np.array([2, 0])).replaced(np.array([5, 6, 7, 8]), np.array([90, 91])).tolist()
        [90, 7, 91, 8]
        """
        outside = np.delete(ids, self.covered)
        result: Ids = np.insert(outside, self.starts - np.cumsum(self.sizes) + self.sizes, by)
        return result


def body(ids: Ids, symbols: Symbols) -> slice:
    """The text of a row: what stands between the special tokens that frame it.

    >>> body(np.array([2, 7, 1, 8, 3]), Symbols(pad=0, mask=None, size=9, special=(0, 1, 2, 3)))
    slice(1, 4, None)
    """
    text = np.flatnonzero(~np.isin(ids, symbols.special))
    return slice(int(text[0]), int(text[-1]) + 1) if len(text) else slice(0, 0)


def first_of(sizes: Ids, total: int) -> Ids:
    """As many of ``sizes`` as take ``total`` tokens together, the last one cut to fit; a 0 counts as one token.

    >>> first_of(np.array([3, 0, 4, 2]), 6).tolist()
    [3, 0, 2]
    """
    ends = np.cumsum(np.maximum(sizes, 1))
    count = int(np.searchsorted(ends, total)) + 1 if total else 0
    chosen = sizes[:count].copy()
    chosen[-1:] -= (ends[:count] - total)[-1:]
    return chosen


def scattered(draws: Draws, length: int, sizes: Ids) -> Spans:
    """Spans of these sizes, in this order, in a row of ``length`` tokens; every placement is as likely.

    ``draws`` are at least ``length`` + len(sizes) uniform numbers.
    """
    outside = length - int(sizes.sum())
    places = np.sort(np.argsort(draws[: outside + len(sizes)], kind="stable")[: len(sizes)])  # among tokens and spans
    return Spans(places - np.arange(len(sizes)) + np.cumsum(sizes) - sizes, sizes)


def random_parts(draws: Draws, items: int, count: int) -> Ids:
    """Sizes of ``count`` parts, of at least one, that make up ``items``; every such cut is as likely.  [count]

    ``draws`` are at least ``items`` - 1 uniform numbers.
    """
    cuts = np.sort(np.argsort(draws[: items - 1], kind="stable")[: count - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [items]]))
