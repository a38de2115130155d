"""A sample of a stream of texts, of bounded size, that depends on the texts alone."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lathe.core.keyed import word

PIECE = 10_000
"""Characters: longer texts are sampled piece by piece, so that one book cannot fill the sample."""


class Sample(NamedTuple):
    """Texts, and how much there was to draw them from, in bytes as UTF-8."""

    texts: Sequence[str]
    bytes: int
    read_bytes: int

    def share(self) -> dict[str, float]:
        read = max(self.read_bytes, 1)
        return {"mb": round(self.bytes / 1e6, 3), "of_mb": round(read / 1e6, 3), "ratio": round(self.bytes / read, 4)}


def sampled(texts: Iterable[str], limit_bytes: int) -> Sample:
    """At most ``limit_bytes`` of the texts: the pieces whose hashes are lowest, in that order.

    Holds no more than the sample in memory; another order of the texts gives the same sample.
    """
    heap: list[tuple[int, str]] = []  # the highest hash on top: the first to go
    total, read, bar = 0, 0, 2**64  # what hashes to the bar or higher has no chance any more
    for piece in pieces(texts):
        read += (size := _size(piece))
        if (key := word(piece)) >= bar:
            continue
        heapq.heappush(heap, (-key, piece))
        total += size
        while total > limit_bytes:
            highest, gone = heapq.heappop(heap)
            total, bar = total - _size(gone), -highest
    return Sample([piece for _, piece in sorted(heap, reverse=True)], total, read)


def pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), PIECE):
            yield text[start : start + PIECE]


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))
