"""Lines of a text whose encoding is declared, or told where the first byte beyond ASCII stands."""

from collections.abc import Iterator
from itertools import chain

from lathe.core.data.encodings import detect, name
from lathe.core.data.source import Line, split_lines
from lathe.corpus.readers.opened import peeked

SAMPLE_BYTES = 1 << 18  # what the encoding is told from
LONGEST_WAIT = 1 << 20  # bytes of ASCII without a line end after which the encoding is told from those


class TextLines:
    """Iterate over it once; ``encoding`` then says how the text was read."""

    def __init__(self, chunks: Iterator[bytes], codec: str | None, number: int = 0, offset: int = 0) -> None:
        self._chunks, self._codec = chunks, codec
        self._number, self._offset = number, offset
        self.encoding = name(codec or "utf-8")

    def __iter__(self) -> Iterator[Line]:
        if self._codec is None:
            for line in split_lines(self._ascii(), "utf-8", self._number, self._offset):
                self._number = line.number
                yield line
            sample, self._chunks = peeked(self._chunks, SAMPLE_BYTES)
            self._codec = detect(sample)
            self.encoding = name(self._codec) if self._codec else "unclear"
        yield from split_lines(self._chunks, self._codec or "utf-8", self._number, self._offset)

    def _ascii(self) -> Iterator[bytes]:
        """Whole lines as long as all is ASCII; what follows stays in the stream."""
        tail = b""
        for chunk in self._chunks:
            tail += chunk
            whole = tail.rfind(b"\n") + 1
            if not chunk.isascii() or 0 in chunk or len(tail) - whole > LONGEST_WAIT:
                break
            self._offset += whole
            yield tail[:whole]
            tail = tail[whole:]
        self._chunks = chain([tail], self._chunks)
