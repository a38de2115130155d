"""From a path to numbered lines of bytes: what is in the way of reading a file is found here, and named."""

import bz2
import lzma
import re
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard

from lathe.core.data.encodings import MARKS
from lathe.core.errors import DataError, did_you_mean

CHUNK_BYTES = 1 << 18
MAX_LINE_BYTES = 1 << 26  # a longer one is no text, or a compressed bomb
KEPT_OF_LONG = 1 << 12  # bytes of a line that is too long that are kept, to show
SLICE_BYTES = 1 << 11  # compressed bytes at once: the most hostile stream makes 64 MiB of them
BOMB_BYTES, BOMB_RATIO = 1 << 30, 1000  # what is this large and shrinks this well is no text
LOOK_BACK_BYTES = (
    1 << 20
)  # compressed bytes of a damaged stream in which the next one may begin: damage is noticed late
GAP = b"\0\n\0"  # what stands for a damaged part: the lines before and behind it, which are not whole, are no texts

_OTHER_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".txt": "text", ".text": "text", ".parquet": "parquet", ".pq": "parquet",
    ".conll": "conll", ".bio": "conll", ".bioes": "conll", ".bmes": "conll", ".iob": "conll", ".iob2": "conll",
}  # fmt: skip


class Line(NamedTuple):
    """One physical line, without its end."""

    number: int  # from 1
    offset: int  # of its first byte, in the decompressed file
    raw: bytes
    encoding: str = "utf-8"
    is_cut: bool = False  # it is longer than MAX_LINE_BYTES, and ``raw`` only its beginning


class Compression(NamedTuple):
    name: str
    suffix: str
    magic: bytes
    decompressor: Callable[[], Any]  # has decompress(bytes), eof, unused_data
    begins: re.Pattern[bytes]  # what a stream begins with, so exactly that it is nowhere else by chance


class Source(NamedTuple):
    """A file that exists, whose name says what it holds, and what it is compressed with."""

    path: Path
    format: str  # jsonl, csv, tsv, text, parquet; by its content also json or conll
    compression: Compression | None


class Range(NamedTuple):
    """Some of the lines of a file that is not compressed."""

    start: int  # where the first one begins
    stop: int  # where the last one ends
    first: int  # number of the first line


class BrokenStreamError(Exception):
    """A compressed file ends early or is damaged; the message says how."""

    line, offset = 0, 0  # where the first line begins that could not be read to its end


_GZIP = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL)
_ZSTD, _BZIP2, _XZ = re.compile(rb"\x28\xb5\x2f\xfd"), re.compile(rb"BZh[1-9]1AY&SY"), re.compile(rb"\xfd7zXZ\x00\x00")
_LONGEST_BEGINNING = 10

_COMPRESSIONS = (
    Compression("gzip", ".gz", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), _GZIP),
    Compression("zstd", ".zst", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj(), _ZSTD),
    Compression("bzip2", ".bz2", b"BZh", bz2.BZ2Decompressor, _BZIP2),
    Compression("xz", ".xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=1 << 28), _XZ),
)

_STREAM_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


def find_source(path: Path) -> Source:
    """What a path holds. Raises ``DataError`` if it is missing, empty, of unknown kind, or not what its name says."""
    head = _head(path)
    by_name = next((c for c in _COMPRESSIONS if path.suffix.lower() == c.suffix), None)
    by_content = compression_of(head)
    if by_name is not by_content:
        raise DataError(f"{path}: {_lie(path, by_name, by_content)}")
    plain = path.with_suffix("") if by_name else path
    kind = _SUFFIXES.get(plain.suffix.lower())
    if kind is None:
        known = " ".join(_SUFFIXES)
        raise DataError(
            f"{path}: unknown kind of file; its name must end in one of {known}, then .gz .zst .bz2 .xz or not"
        )
    if head.startswith(b"PAR1") != (kind == "parquet"):
        verb = "is not" if kind == "parquet" else "is"
        raise DataError(f"{path}: its name says {kind}, its content {verb} Parquet; rename it to what it is")
    return Source(path, kind, by_name)


def lines(source: Source) -> Iterator[Line]:
    r"""The lines of a text file, ended by ``\n`` or ``\r\n`` (never by U+2028 and its like); a UTF-8 mark is taken off.

    Raises ``DataError`` for UTF-16, UTF-32 and binary content, ``BrokenStreamError`` for a damaged compressed file.
    """
    chunks = content(source.path, source.compression)
    head = next(chunks, b"")
    refuse_other_encodings(source.path, head)
    yield from split_lines(chain([head], chunks))


def split_lines(chunks: Iterable[bytes], encoding: str = "utf-8", number: int = 0, offset: int = 0) -> Iterator[Line]:
    """The lines of a stream from line ``number`` + 1 on, which begins at ``offset``; without a byte order mark."""
    mark, end, back = MARKS.get(encoding, b""), "\n".encode(encoding), "\r".encode(encoding)
    rest, lost = b"", 0  # of the line in progress: its bytes, and how many more it had
    try:
        for chunk in chunks:
            if not number and not offset and not rest and mark and chunk.startswith(mark):
                chunk, offset = chunk[len(mark) :], len(mark)
            *complete, rest = _split(rest + chunk, end)
            for raw in complete:
                number += 1
                yield Line(number, offset, raw.removesuffix(back), encoding, lost > 0)
                offset, lost = offset + len(raw) + lost + len(end), 0
            if len(rest) > (KEPT_OF_LONG if lost else MAX_LINE_BYTES):
                lost += len(rest) - KEPT_OF_LONG
                rest = rest[:KEPT_OF_LONG]
    except BrokenStreamError as error:
        error.line, error.offset = number + 1, offset
        raise
    if rest:
        yield Line(number + 1, offset, rest.removesuffix(back), encoding, lost > 0)


def content(path: Path, compression: Compression | None = None, extent: Range | None = None) -> Iterator[bytes]:
    """The bytes of a file or of a part of it, decompressed.

    Raises ``BrokenStreamError`` after the last that could be read.
    """
    with path.open("rb") as file:
        if extent:
            file.seek(extent.start)
        chunks = _chunks(file, extent.stop - extent.start if extent else sys.maxsize)
        yield from decompressed(chunks, compression) if compression else chunks


def compression_of(head: bytes) -> Compression | None:
    """What a file that begins like this is compressed with."""
    return next((one for one in _COMPRESSIONS if head.startswith(one.magic)), None)


def decompressed(chunks: Iterable[bytes], compression: Compression, gaps: list[str] | None = None) -> Iterator[bytes]:
    """Decompress one or more streams, as ``cat a.gz b.gz`` makes them, in bounded memory.

    Given ``gaps``, a damaged stream that others follow is passed over: it is told of there, and GAP stands for it, in a
    piece of its own. Otherwise, and of the last stream, raises ``BrokenStreamError`` after the last bytes that could be
    read.
    """
    source = _Compressed(chunks)
    ready: list[bytes] = []
    size, made = 0, 0
    try:
        for piece in _pieces(source, compression, gaps):
            made += len(piece)
            source.refuse_bomb(made, compression.name)
            if ready and (size >= CHUNK_BYTES or GAP in (piece, ready[-1])):
                yield b"".join(ready)
                ready, size = [], 0
            ready.append(piece)
            size += len(piece)
    except BrokenStreamError:
        if ready:
            yield b"".join(ready)
        raise
    if ready:
        yield b"".join(ready)


def ranges(path: Path, size: int) -> list[Range]:
    """Cut a file that is not compressed at line ends into parts of about ``size`` bytes, in order.

    The file is read through, because the lines before each part are counted.
    """
    found: list[Range] = []
    start, first, end, number = 0, 1, 0, 1
    for chunk in content(path):
        last = chunk.rfind(b"\n") + 1
        end, number = end + len(chunk), number + chunk.count(b"\n")
        if last and end - len(chunk) + last - start >= size:
            found.append(Range(start, end - len(chunk) + last, first))
            start, first = found[-1].stop, number
    return [*found, Range(start, end, first)] if start < end else found


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except (FileNotFoundError, NotADirectoryError):
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file{did_you_mean(path.name, siblings)}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name one file in it") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    if not head:
        raise DataError(f"{path}: the file is empty")
    return head


def _lie(path: Path, by_name: Compression | None, by_content: Compression | None) -> str:
    says = by_name.name if by_name else "not compressed"
    holds = f"is {by_content.name}" if by_content else "is not"
    plain = path.stem if by_name else path.name
    return (
        f"its name says {says}, its content {holds}; rename it to {plain + (by_content.suffix if by_content else '')}"
    )


def _chunks(file: BinaryIO, count: int) -> Iterator[bytes]:
    left = count
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _split(data: bytes, end: bytes) -> list[bytes]:
    """``data.split(end)``, but an end begins where a code unit does: UTF-16 has two bytes in one."""
    if len(end) == 1:
        return data.split(end)
    found, start, place = [], 0, 0
    while (place := data.find(end, place)) >= 0:
        if place % len(end):
            place += 1
            continue
        found.append(data[start:place])
        start = place = place + len(end)
    return [*found, data[start:]]


def _pieces(source: "_Compressed", compression: Compression, gaps: list[str] | None) -> Iterator[bytes]:
    while source.has_more():
        try:
            yield from _stream(source, compression)
        except BrokenStreamError as error:
            if gaps is None or not source.skip_to(compression.begins):
                raise
            gaps.append(str(error))
            yield GAP


def _stream(source: "_Compressed", compression: Compression) -> Iterator[bytes]:
    """What one stream holds."""
    stream = compression.decompressor()
    while not stream.eof:
        if not (data := source.take()):
            raise BrokenStreamError(f"the {compression.name} data ends early")
        try:
            plain = stream.decompress(data)
        except _STREAM_ERRORS as error:
            raise BrokenStreamError(f"the {compression.name} data is damaged ({error})") from None
        if plain:
            yield plain
    source.put_back(stream.unused_data)


class _Compressed:
    """Compressed bytes, few at once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._slices, self._waiting = _slices(chunks), deque[bytes]()
        self._seen, self._taken = bytearray(), 0  # of this stream; in all

    def has_more(self) -> bool:
        """Whether a stream follows, which then is what comes next: padding is allowed between two."""
        data = self.take()
        while data and not (left := data.lstrip(b"\0")):
            data = self.take()
        self._seen = bytearray()
        if data:
            self.put_back(left)
        return bool(data)

    def take(self) -> bytes:
        data = self._next()
        self._taken += len(data)
        if len(self._seen) > 2 * LOOK_BACK_BYTES:
            del self._seen[:-LOOK_BACK_BYTES]
        self._seen += data
        return data

    def put_back(self, data: bytes) -> None:
        if data:
            self._waiting.appendleft(data)
            self._taken -= len(data)

    def skip_to(self, begins: re.Pattern[bytes]) -> bool:
        """Go to the first stream that begins behind the beginning of this one."""
        window = bytes(self._seen[1:])
        while not (match := begins.search(window)):
            if not (data := self._next()):
                return False
            window = window[-_LONGEST_BEGINNING:] + data
        self._waiting.extendleft(reversed(list(_slices([window[match.start() :]]))))
        return True

    def _next(self) -> bytes:
        return self._waiting.popleft() if self._waiting else next(self._slices, b"")

    def refuse_bomb(self, made: int, name: str) -> None:
        if made > max(BOMB_BYTES, BOMB_RATIO * self._taken):
            raise BrokenStreamError(f"{self._taken:,} bytes of {name} make {made:,} and more: no text does")


def _slices(chunks: Iterable[bytes]) -> Iterator[bytes]:
    return (chunk[at : at + SLICE_BYTES] for chunk in chunks for at in range(0, len(chunk), SLICE_BYTES))


def refuse_other_encodings(path: Path, head: bytes) -> None:
    """Raise ``DataError`` for a file that begins as UTF-16, UTF-32 or no text does."""
    name, place = next(((name, 0) for mark, name in _OTHER_BOMS.items() if head.startswith(mark)), ("", head.find(0)))
    if not name and head.count(b"\0") * 8 > len(head):
        name = "UTF-16" if head.count(b"\0") * 3 > len(head) else "binary data"
    if name:
        convert = f"convert it: iconv -f {name} -t UTF-8 {path.name} > utf8-{path.name}"
        way = "use a text file" if name == "binary data" else convert
        raise DataError(f"{path}: {name} at byte offset {place}, not UTF-8; {way}")
