"""Archives: the members of a tar file are read one after the other as they stream by; none is unpacked to the disk."""

import re
import tarfile
from collections.abc import Callable, Iterator
from typing import TypeAlias

from lathe.core.data.encodings import UnreadableError
from lathe.core.data.source import CHUNK_BYTES, BrokenStreamError
from lathe.corpus.protocol import Item
from lathe.corpus.readers.opened import DEEPEST, Buffer, Opened, open_stream, unbroken

Read: TypeAlias = Callable[[Opened], Iterator[Item]]

LONGEST_NAME = 1 << 16  # bytes

_PAX_PATH = re.compile(rb"\d+ path=([^\n]*)\n")
_WAY = "copy or download the file again"


def read_tar(opened: Opened, read: Read) -> Iterator[Item]:
    """OpenWebText is an archive of compressed archives of texts; BookCorpus is one of books. Links are passed over.

    After a damaged header reading goes on with the next good one.
    """
    if opened.depth >= DEEPEST:
        raise UnreadableError(f"packed more than {DEEPEST} times", "unpack it")
    buffer = Buffer(unbroken(opened))
    number, long_name, is_lost = 0, "", False
    while any(block := buffer.take(tarfile.BLOCKSIZE)):
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError as error:
            if not is_lost and buffer.broken is None:
                at = buffer.offset - len(block)
                yield opened.bad(f"the archive is damaged after member {number} ({error})", _WAY, number + 1, at)
            is_lost = True
            continue
        is_lost = False
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
            long_name = _name(header, buffer)
        elif header.isreg():
            number += 1
            yield from _member(opened, long_name or header.name, header.size, buffer, read)
            long_name = ""
        else:
            buffer.skip(_padded(header.size))
    if not block or buffer.broken is not None:
        broken = buffer.broken or BrokenStreamError("the archive ends early")
        broken.line, broken.offset = number, buffer.offset
        yield opened.broken(broken)


def _member(opened: Opened, name: str, size: int, buffer: Buffer, read: Read) -> Iterator[Item]:
    """A member's documents; whatever is wrong with it, the next one is read."""
    end = buffer.offset + size
    id, file = f"{opened.name}!{name}", f"{opened.file}!{name}"
    try:
        yield from read(open_stream(_content(buffer, end), id, file, opened.depth + 1))
    except BrokenStreamError as error:
        yield Opened(id, file, b"", iter(())).broken(error)
    buffer.skip(end - buffer.offset + _padded(size) - size)


def _content(buffer: Buffer, end: int) -> Iterator[bytes]:
    while chunk := buffer.take(min(CHUNK_BYTES, end - buffer.offset)):
        yield chunk
    if buffer.offset < end:
        raise buffer.broken or BrokenStreamError("the archive ends early")


def _name(header: tarfile.TarInfo, buffer: Buffer) -> str:
    """What a header says of the name of the member behind it."""
    raw = buffer.take(min(header.size, LONGEST_NAME))
    buffer.skip(_padded(header.size) - len(raw))
    if header.type == tarfile.XHDTYPE:
        match = _PAX_PATH.search(raw)
        raw = match[1] if match else b""
    return raw.rstrip(b"\0").decode("utf-8", "replace")


def _padded(size: int) -> int:
    return size + -size % tarfile.BLOCKSIZE
