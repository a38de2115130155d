"""From a path to numbered lines of bytes: what is in the way of reading a file is found here, and named."""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard

from lathe.core.errors import DataError, did_you_mean

CHUNK_BYTES = 1 << 18
MAX_LINE_BYTES = 1 << 26  # a longer one is no text, or a compressed bomb

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".txt": "text", ".text": "text", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class Line(NamedTuple):
    """One physical line, without its end."""

    number: int  # from 1
    offset: int  # of its first byte, in the decompressed file
    raw: bytes


class Compression(NamedTuple):
    name: str
    suffix: str
    magic: bytes
    decompressor: Callable[[], Any]  # has decompress(bytes), eof, unused_data


class Source(NamedTuple):
    """A file that exists, whose name says what it holds, and what it is compressed with; or a range of its lines."""

    path: Path
    format: str  # jsonl, csv, tsv, text or parquet
    compression: Compression | None
    start: int = 0  # where the first line begins; only a file that is not compressed has ranges
    stop: int | None = None  # where the last one ends
    first: int = 1  # number of the first line


class BrokenStreamError(Exception):
    """A compressed file ends early or is damaged; the message says how."""


_COMPRESSIONS = (
    Compression("gzip", ".gz", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)),
    Compression("zstd", ".zst", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
    Compression("bzip2", ".bz2", b"BZh", bz2.BZ2Decompressor),
    Compression("xz", ".xz", b"\xfd7zXZ\x00", lzma.LZMADecompressor),
)

_STREAM_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


def find_source(path: Path) -> Source:
    """What a path holds. Raises ``DataError`` if it is missing, empty, of unknown kind, or not what its name says."""
    head = _head(path)
    by_name = next((c for c in _COMPRESSIONS if path.suffix.lower() == c.suffix), None)
    by_content = next((c for c in _COMPRESSIONS if head.startswith(c.magic)), None)
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
    number, offset, rest = source.first - 1, source.start, b""
    for index, chunk in enumerate(_content(source)):
        if index == 0 and not source.start:
            _refuse_other_encodings(source.path, chunk)
            offset = len(_BOM) if chunk.startswith(_BOM) else 0
            chunk = chunk[offset:]
        *complete, rest = (rest + chunk).split(b"\n")
        for raw in complete:
            number += 1
            yield Line(number, offset, raw.removesuffix(b"\r"))
            offset += len(raw) + 1
        if len(rest) > MAX_LINE_BYTES:
            raise DataError(
                f"{source.path}:{number + 1}: a line of more than {MAX_LINE_BYTES >> 20} MiB; is this a text file?"
            )
    if rest:
        yield Line(number + 1, offset, rest.removesuffix(b"\r"))


def ranges(source: Source, size: int) -> list[Source]:
    """Cut a file that is not compressed at line ends into parts of about ``size`` bytes, in order.

    The file is read through, because the lines before each part are counted.
    """
    found, end, number = [source], source.start, source.first
    for chunk in _content(source):
        last = chunk.rfind(b"\n") + 1
        if last and end + last - found[-1].start >= size:
            found[-1:] = [
                found[-1]._replace(stop=end + last),
                source._replace(start=end + last, first=number + chunk.count(b"\n")),
            ]
        end, number = end + len(chunk), number + chunk.count(b"\n")
    return found if len(found) == 1 or found[-1].start < end else found[:-1]


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


def _content(source: Source) -> Iterator[bytes]:
    with source.path.open("rb") as file:
        file.seek(source.start)
        chunks = _chunks(file, source.stop)
        yield from _decompressed(chunks, source.compression) if source.compression else chunks


def _chunks(file: BinaryIO, stop: int | None) -> Iterator[bytes]:
    left = sys.maxsize if stop is None else stop - file.tell()
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _decompressed(chunks: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """Decompress a file of one or more streams, as ``cat a.gz b.gz`` makes them."""
    stream = None
    for chunk in chunks:
        while chunk:
            if stream is None:
                chunk = chunk.lstrip(b"\0")  # padding is allowed between streams
                stream = compression.decompressor() if chunk else None
                continue
            try:
                plain = stream.decompress(chunk)
            except _STREAM_ERRORS as error:
                raise BrokenStreamError(f"the {compression.name} data is damaged ({error})") from None
            if plain:
                yield plain
            chunk, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
    if stream is not None:
        raise BrokenStreamError(f"the {compression.name} data ends early")


def _refuse_other_encodings(path: Path, head: bytes) -> None:
    name, place = next(((name, 0) for mark, name in _OTHER_BOMS.items() if head.startswith(mark)), ("", head.find(0)))
    if not name and head.count(b"\0") * 8 > len(head):
        name = "UTF-16" if head.count(b"\0") * 3 > len(head) else "binary data"
    if name:
        convert = f"convert it: iconv -f {name} -t UTF-8 {path.name} > utf8-{path.name}"
        way = "use a text file" if name == "binary data" else convert
        raise DataError(f"{path}: {name} at byte offset {place}, not UTF-8; {way}")
