"""Files with one fault each, made from a seed, and what a careful reader must make of them."""

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import zstandard

ROWS = 10
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
ENGLISH = ["The harbour was quiet before the storm came in", "Nobody in the village had seen such a summer"]
CHINESE = ["我们的国家在这个时候有很多人来到中国学习", "他说这是一个可以让大家都高兴的好消息"]

JSON_FAULTS: dict[str, bytes] = {
    "invalid UTF-8": b'{"text": "bad \xff\xfe bytes"}',
    "a line in GBK": '{"text": "这一行是国标编码的文字"}'.encode("gbk"),
    "a line in Big5": '{"text": "這一行是大五碼的文字"}'.encode("big5"),
    "not JSON": b"hello world",
    "cut off": b'{"text": "goo',
    "NUL byte": b'{"text": "a\x00b"}',
    "two objects": b'{"text": "a"} {"text": "b"}',
    "a list": b'["text"]',
    "a string": b'"text"',
    "a number": b"12",
    "null": b"null",
    "null text": b'{"text": null}',
    "missing column": b'{"other": "x"}',
    "empty text": b'{"text": ""}',
    "blank text": '{"text": " \u3000"}'.encode(),
    "escaped NUL": b'{"text": "a\\u0000b"}',
    "NaN": b'{"text": NaN}',
    "number as text": b'{"text": 12}',
    "list as text": b'{"text": ["a"]}',
    "half a surrogate pair": b'{"text": "a\\ud83d"}',
    "duplicate key": b'{"text": "a", "text": "b"}',
    "too deep": b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "huge number": b'{"text": "a", "n": 1e999}',
    "huge integer": b'{"text": "a", "n": ' + b"9" * 5000 + b"}",
    "no object": b"{}",
}
TABLE_FAULTS: dict[str, bytes] = {
    "invalid UTF-8": b"bad \xff\xfe bytes{0}x",
    "a line in GBK": "这一行是国标编码的文字{0}x".encode("gbk"),
    "a line in Big5": "這一行是大五碼的文字{0}x".encode("big5"),
    "NUL byte": b"a\x00b{0}x",
    "too few fields": b"only one",
    "too many fields": b"a{0}b{0}c",
    "empty text": b"{0}x",
    "blank text": "\u3000{0}x".encode(),
}
CSV_FAULTS = {"quote never closed": b'"open{0}x', "text after a quote": b'"a"b{0}x'}
TEXT_FAULTS: dict[str, bytes] = {
    "invalid UTF-8": b"bad \xff\xfe bytes",
    "a line in GBK": "这一行是国标编码的文字".encode("gbk"),
    "a line in Big5": "這一行是大五碼的文字".encode("big5"),
    "NUL byte": b"a\x00b",
    "cut in a character": "结尾".encode()[:-1],
}
WHOLE = ("cut short", "rubbish behind", "not what its name says", "empty", "UTF-16", "GB18030", "Big5", "binary")


class Broken(NamedTuple):
    """A file, and what must come of it."""

    name: str
    content: bytes
    fault: str
    good: list[str]  # texts that must be kept, in order; of a file that is cut short, those that may be
    line: int | None  # of the fault; None where there is none, and 0 for the file as a whole
    offset: int
    is_cut: bool = False  # somewhere in the compressed bytes: a beginning of ``good`` is kept


def broken_files(count: int, seed: int = 0) -> Iterator[Broken]:
    """Kinds of fault x formats x compressions x positions, each drawn by chance, all kinds in turn."""
    chance = random.Random(seed)
    kinds = [(f, kind) for f in ("jsonl", "csv", "tsv", "txt") for kind in (*_line_faults(f), *WHOLE)]
    for number in range(count):
        format, kind = kinds[number % len(kinds)]
        pack = chance.choice(list(PACK))
        texts = [f"{chance.choice(ENGLISH + CHINESE)} {number}-{row}" for row in range(ROWS)]
        name = f"{number:04}.{format}{pack}"
        if kind in WHOLE:
            yield _whole(name, format, pack, kind, texts, chance)
        else:
            yield _with_line(name, format, pack, kind, texts, chance.randrange(ROWS + 1))


def _line_faults(format: str) -> dict[str, bytes]:
    if format == "jsonl":
        return JSON_FAULTS
    if format == "txt":
        return TEXT_FAULTS
    return TABLE_FAULTS | (CSV_FAULTS if format == "csv" else {})


def _lines(format: str, texts: list[str]) -> tuple[list[bytes], list[bytes]]:
    """The header and the rows of a file."""
    if format == "jsonl":
        return [], [json.dumps({"text": text, "label": "x"}, ensure_ascii=False).encode() for text in texts]
    if format == "txt":
        return [], [text.encode() for text in texts]
    separator = "," if format == "csv" else "\t"
    return [f"text{separator}label".encode()], [f"{text}{separator}x".encode() for text in texts]


def _with_line(name: str, format: str, pack: str, kind: str, texts: list[str], place: int) -> Broken:
    header, rows = _lines(format, texts)
    separator = b"," if format == "csv" else b"\t"
    rows.insert(place, _line_faults(format)[kind].replace(b"{0}", separator))
    lines = header + rows
    line = len(header) + place
    content = b"\n".join(lines) + b"\n"
    return Broken(name, PACK[pack](content), kind, texts, line + 1, sum(len(one) + 1 for one in lines[:line]))


def _whole(name: str, format: str, pack: str, kind: str, texts: list[str], chance: random.Random) -> Broken:
    header, rows = _lines(format, texts)
    content = b"\n".join(header + rows) + b"\n"
    if kind in ("UTF-16", "GB18030", "Big5"):
        codec = {"UTF-16": chance.choice(["utf-16", "utf-16-le", "utf-16-be"])}.get(kind, kind)
        text = content.decode().translate(_TRADITIONAL if kind == "Big5" else {})
        good = [one.translate(_TRADITIONAL if kind == "Big5" else {}) for one in texts]
        return Broken(name, PACK[pack](text.encode(codec)), kind, good, None, 0)
    if kind == "empty":
        return Broken(name, PACK[pack](b"") if pack else b"", kind, [], 0, 0)
    if kind == "binary":
        return Broken(name, PACK[pack](chance.randbytes(4000)), kind, [], 0, 0)
    if kind == "not what its name says":  # the content is read; its compression is no fault
        return Broken(name.removesuffix(pack), PACK[pack](content), kind, texts, None, 0)
    pack = pack or ".gz"
    packed = PACK[pack](content)
    name = name if name.endswith(pack) else name + pack
    if kind == "rubbish behind":
        return Broken(name, packed + b"rubbish that is no stream", kind, texts, ROWS + len(header) + 1, len(content))
    return Broken(name, packed[: chance.randrange(len(packed) // 2, len(packed) - 1)], kind, texts, 0, 0, True)


_TRADITIONAL = str.maketrans("们国这个时候来学习说让兴", "們國這個時候來學習說讓興")
