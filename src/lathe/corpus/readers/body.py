"""Bodies of HTTP responses as the pages they show: put together from chunks, and decompressed.

Crawlers often store a body as it was shown and keep the headers that say how it came: then it stays as it is.
"""

import re
import zlib
from collections.abc import Mapping
from typing import Any

from lathe.core.data.encodings import UnreadableError
from lathe.core.data.source import BrokenStreamError, compression_of, decompressed
from lathe.corpus.readers.detect import is_binary
from lathe.corpus.readers.html import LARGEST_PAGE

AGAIN = "download the page again"

_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(;[^\r\n]*)?\r\n")


def shown(body: bytes, headers: Mapping[str, str]) -> bytes:
    """A body as its page; names of ``headers`` are in lower case. Raises ``UnreadableError``."""
    body = _unchunked(body, headers)
    for name in reversed(headers.get("content-encoding", "").lower().split(",")):  # the last one was applied last
        match name.strip():
            case "" | "identity" | "none":
                continue
            case "gzip" | "x-gzip" | "deflate":
                body = _inflated(body)
            case "zstd":
                body = _from_zstd(body)
            case "br":
                body = _from_brotli(body)
            case other if is_binary(body):
                raise UnreadableError(f"a body in the Content-Encoding {other!r}, which is not read here", AGAIN)
    return body


def _unchunked(body: bytes, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked" or not _CHUNK.match(body):
        return body
    parts: list[bytes] = []
    place = 0
    while match := _CHUNK.match(body, place):
        size = int(match[1], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[match.end() : match.end() + size])
        place = match.end() + size + 2
        if place > len(body) or body[place - 2 : place] != b"\r\n":
            break
    raise UnreadableError("a body whose chunks do not fit", AGAIN)


def _inflated(body: bytes) -> bytes:
    if not body:
        return body
    bits = zlib.MAX_WBITS | 32 if body[:1] in b"\x1f\x78" else -zlib.MAX_WBITS
    stream = zlib.decompressobj(wbits=bits)
    try:
        plain = stream.decompress(body, LARGEST_PAGE)
    except zlib.error:
        return body
    if stream.unconsumed_tail or not stream.eof:
        raise _ends_early()
    return plain


def _from_zstd(body: bytes) -> bytes:
    compression = compression_of(body)
    if compression is None or compression.name != "zstd":
        return body
    plain = bytearray()
    try:
        for piece in decompressed([body], compression):
            plain += piece
            if len(plain) > LARGEST_PAGE:
                raise _ends_early()
    except BrokenStreamError:
        raise _ends_early() from None
    return bytes(plain)


def _from_brotli(body: bytes) -> bytes:
    """Brotli's streams have no mark to know them by; what is text was stored as it was shown."""
    if not is_binary(body):
        return body
    library = _brotli()
    stream = library.Decompressor()
    try:
        plain: bytes = stream.process(body, output_buffer_limit=LARGEST_PAGE)
    except library.error:
        raise UnreadableError("a body that is not Brotli, as its Content-Encoding says, and no text", AGAIN) from None
    if not stream.is_finished() or len(plain) > LARGEST_PAGE:  # the limit may be passed by a buffer
        raise _ends_early()
    return plain


def _ends_early() -> UnreadableError:
    return UnreadableError("a compressed body that ends early or is too large", AGAIN)


def _brotli() -> Any:
    try:
        import brotli
    except ImportError as error:
        raise UnreadableError(
            f"a body compressed by Brotli (Content-Encoding: br), which takes {error.name}",
            "pip install 'lathe[corpus]'",
        ) from None
    return brotli
