"""Texts longer than a model takes: windows that overlap, each of which answers for the pieces that it sees best."""

from typing import NamedTuple


class Window(NamedTuple):
    """A stretch of the pieces of a text, and those of them that it answers for."""

    start: int
    stop: int  # behind the last piece
    first: int  # that it answers for
    last: int  # behind the last one that it answers for


def windows_of(length: int, room: int, overlap: int) -> list[Window]:
    """As few windows of at most ``room`` pieces as share ``overlap`` with each neighbour, evenly spread over the text.

    Every piece is answered for once: in the window where it is farthest from an edge that cuts the text. Windows share
    at most half of themselves.

    >>> windows_of(10, 6, 2)
    [Window(start=0, stop=6, first=0, last=5), Window(start=4, stop=10, first=5, last=10)]
    """
    room = max(room, 1)
    overlap = min(overlap, room // 2)
    more = max(0, -(-(length - room) // (room - overlap)))
    starts = [number * (length - room) // more for number in range(more + 1)] if more else [0]
    stops = [min(start + room, length) for start in starts]
    bounds = [0, *((start + stop) // 2 for start, stop in zip(starts[1:], stops, strict=False)), length]
    return [Window(*edges) for edges in zip(starts, stops, bounds, bounds[1:], strict=False)]
