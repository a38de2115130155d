"""What is told about clusters: documents of which all but one are dropped, since they repeat that one."""

from typing import Any

import numpy as np

from lathe.corpus.duplicates.rows import Places, mapped
from lathe.corpus.protocol import Room

STEPS = (2, 3, 4, 5, 10, 100, 1000)
"""Where classes of sizes begin."""


def clusters(twins: Places, before: int, room: Room) -> dict[str, Any]:
    """How many there are by size, from the place of the document that each one repeats, negative for none.

    The first ``before`` documents are those of earlier corpora: in a cluster only where a later one repeats them.
    """
    repeats = mapped(room.folder, "repeats", np.int64, len(twins))
    for start in range(before, len(twins), 2**20):
        run = twins[start : start + 2**20]
        np.add.at(repeats, run[run >= 0], 1)
    sizes, largest = np.zeros(len(STEPS), np.int64), 0
    for start in range(0, len(twins), 2**20):
        found = repeats[start : start + 2**20]
        found = found[found > 0] + 1
        sizes += np.bincount(np.searchsorted(STEPS, found, side="right") - 1, minlength=len(STEPS))
        largest = max(largest, int(found.max(initial=0)))
    names = [_name(first, after) for first, after in zip(STEPS, (*STEPS[1:], None), strict=True)]
    by_size = {name: int(size) for name, size in zip(names, sizes, strict=True) if size}
    return {"clusters": int(sizes.sum()), "largest": largest, "sizes": by_size}


def _name(first: int, after: int | None) -> str:
    if after is None:
        return f"{first} or more"
    return f"{first}" if after == first + 1 else f"{first} to {after - 1}"
