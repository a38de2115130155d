"""Rows of two sets that are nearly the same: their texts share most of their runs of three words."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from lathe.core.data.about import wording
from lathe.core.scripts import words
from lathe.core.types import Row

SIZE = 3  # words in a run; of Chinese, characters
LEAST = 0.7
"""Jaccard similarity from which on two rows are alike: 20 words of which one in the middle is another have 0.71."""


def alike(rows: Sequence[Row], others: Sequence[Row], places: Sequence[int]) -> list[tuple[int, int]]:
    """Of the rows of ``others`` at ``places`` those that are like one of ``rows``: (place, the first such row).

    Memory grows with the ``places`` alone.
    """
    wanted = {place: _runs(others[place]) for place in places}
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, runs in wanted.items():
        for run in runs:
            holders[run].append(place)
    found: dict[int, int] = {}
    for number, row in enumerate(rows):
        runs = _runs(row)
        common = Counter(place for run in runs if run in holders for place in holders[run] if place not in found)
        for place, count in common.items():
            if count >= LEAST * (len(runs) + len(wanted[place]) - count):
                found[place] = number
    return sorted(found.items())


def _runs(row: Row) -> set[tuple[str, ...]]:
    """Runs of words of what a row is about; none where it is too short to be nearly another."""
    found = words(wording(row))
    return set(zip(*(found[start:] for start in range(SIZE)), strict=False))
