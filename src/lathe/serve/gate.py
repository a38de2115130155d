"""What is refused without being looked at: while a queue is full, one more request to it costs next to nothing.

A server that gives each refusal the work of an answer does little else under load. So the first request that finds the
queue of its route full leaves its answer here; those that follow get the same, as long as the queue is full.
"""

import re
from collections.abc import Callable, Iterable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.IGNORECASE)
_LINE = re.compile(rb"POST ([!-~]{1,200}) HTTP/1\.1\r\n")
_OTHERWISE = re.compile(rb"\r\n(connection|expect|transfer-encoding|upgrade):", re.IGNORECASE)


class Gate:
    """By route, whether its queue is full, and what is answered then."""

    def __init__(self) -> None:
        self._shut: dict[bytes, tuple[Callable[[], bool], bytes]] = {}
        self.refused = 0

    def shut(self, path: str, is_full: Callable[[], bool], headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer so what is sent to ``path``, as long as ``is_full`` says so."""
        lines = [b"HTTP/1.1 429 Too Many Requests", *(b"%b: %b" % header for header in headers), b"", body]
        self._shut[path.encode("ascii", "replace")] = (is_full, b"\r\n".join(lines))

    def refusal(self, data: bytes) -> bytes | None:
        """The answer to the bytes of a whole request, if it goes no further."""
        if not self._shut or (line := _LINE.match(data)) is None or (found := self._shut.get(line[1])) is None:
            return None
        is_full, answer = found
        if not is_full():
            del self._shut[line[1]]
            return None
        end = data.find(b"\r\n\r\n") + 4
        size = _LENGTH.search(data, 0, end - 2)
        if end < 4 or size is None or len(data) != end + int(size[1]) or _OTHERWISE.search(data, 0, end):
            return None
        self.refused += 1
        return answer
