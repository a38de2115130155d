"""A file, or a member of an archive, as it is opened: decompressed, with its beginning known before it is read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lathe.core.data import Bad
from lathe.core.data.encodings import UnreadableError
from lathe.core.data.source import CHUNK_BYTES, GAP, BrokenStreamError, compression_of, content, decompressed
from lathe.core.digest import printable
from lathe.core.errors import DataError

HEAD_BYTES = 1 << 16
DEEPEST = 4  # archives in archives, compressed or not

Cut: TypeAlias = Literal["line", "paragraph", "sentences", "file"]
Extraction: TypeAlias = Literal["fast", "quality"]
Format: TypeAlias = Literal["text", "markdown", "html", "jsonl", "csv", "tsv", "parquet", "wikipedia", "warc", "tar"]


@dataclass(frozen=True)
class Options:
    """What the user says of the files; where he says nothing, their content does."""

    codec: str | None = None  # of text; told from the bytes where None
    text: str | None = None  # column
    group: str | None = None  # column that is kept for the split
    cut: Cut = "line"  # what one document is in plain text
    extraction: Extraction = "fast"  # of the main text of a web page
    format: Format | None = None  # of all files; told from their content where None


@dataclass(frozen=True)
class Opened:
    """Bytes under a name, to be read once."""

    name: str  # how ids of documents begin
    file: str  # for messages: the path, and the member of the archive
    head: bytes  # the first HEAD_BYTES, or all
    chunks: Iterator[bytes]  # everything, the head too; may raise BrokenStreamError
    path: Path | None = None  # of a file that lies on the disk as it is read
    depth: int = 0  # of compression and archives around it
    gaps: list[str] = field(default_factory=list)  # damaged parts that were passed over so far, and what is wrong there

    def bad(self, reason: str, fix: str, line: int = 0, offset: int = 0, value: str = "") -> Bad:
        """The file as a whole (line 0), or a line or record of it."""
        return Bad(self.file, line, None, value, reason, fix, offset)

    def broken(self, error: BrokenStreamError) -> Bad:
        return self.bad(str(error), "copy or download the file again", error.line, error.offset)


def open_file(path: Path, name: str) -> Opened:
    """Raises ``DataError`` for a file that may not be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from None
    opened = open_stream(content(path, None), name, printable(path))
    return opened if opened.depth else Opened(name, opened.file, opened.head, opened.chunks, path)


def open_stream(chunks: Iterator[bytes], name: str, file: str, depth: int = 0) -> Opened:
    """Decompress what is compressed, and what that holds."""
    head, chunks = peeked(chunks)
    gaps: list[str] = []
    while compression := compression_of(head):
        if (depth := depth + 1) > DEEPEST:
            too_deep = UnreadableError(f"compressed or packed more than {DEEPEST} times", "unpack it")
            return Opened(name, file, b"", raising(too_deep), depth=depth)
        head, chunks = peeked(decompressed(chunks, compression, gaps if depth == 1 else None))
    return Opened(name, file, head, chunks, depth=depth, gaps=gaps)


def unbroken(opened: Opened) -> Iterator[bytes]:
    """The bytes before the first damaged part, for a format in which what follows it cannot be made out."""
    for chunk in opened.chunks:
        if opened.gaps and chunk == GAP:
            raise BrokenStreamError(opened.gaps.pop())
        yield chunk


class Buffer:
    """Bytes of a stream that are looked at before they are taken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._data = chunks, bytearray()
        self.offset = 0  # of the next byte
        self.broken: BrokenStreamError | None = None  # why there is no more than what came

    def has(self, count: int) -> bool:
        """Whether so many bytes are to come."""
        while len(self._data) < count:
            try:
                chunk = next(self._chunks, b"")
            except BrokenStreamError as error:
                self.broken, chunk = error, b""
            if not chunk:
                return False
            self._data += chunk
        return True

    def peek(self, count: int) -> bytes:
        self.has(count)
        return bytes(self._data[:count])

    def take(self, count: int) -> bytes:
        taken = self.peek(count)
        del self._data[:count]
        self.offset += len(taken)
        return taken

    def skip(self, count: int) -> int:
        """Take so many bytes and hold none of them; how many there were."""
        left = count
        while left and (taken := len(self.take(min(left, CHUNK_BYTES)))):
            left -= taken
        return count - left

    def find(self, mark: bytes, start: int = 0, limit: int = 1 << 26) -> int:
        """How many bytes ahead ``mark`` is; -1 if it is not, or further than ``limit``."""
        while (place := self._data.find(mark, start)) < 0:
            start = max(start, len(self._data) - len(mark) + 1)
            if start > limit or not self.has(len(self._data) + 1):
                return -1
        return place

    def skip_to(self, mark: bytes) -> bool:
        """Go to the next ``mark``, however far; to the end if there is none."""
        while (place := self.find(mark)) < 0:
            if not self.skip(max(len(self._data) - len(mark) + 1, 1)):
                return False
        self.skip(place)
        return True

    def put_back(self, data: bytes) -> None:
        self._data[:0] = data
        self.offset -= len(data)


def peeked(chunks: Iterator[bytes], count: int = HEAD_BYTES) -> tuple[bytes, Iterator[bytes]]:
    """The head of a stream, and the stream with it; a break behind the head comes when the stream is read there."""
    pieces: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= count:
                break
    except BrokenStreamError as error:
        chunks = raising(error)
    return b"".join(pieces)[:count], chain(pieces, chunks)


def raising(error: Exception) -> Iterator[Any]:
    """A stream that breaks when it is read."""
    raise error
    yield
