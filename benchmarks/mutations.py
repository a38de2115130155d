"""Requests that are broken on purpose: their bytes, their JSON, their texts. Every one follows from a seed."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

UNICODE = [
    "\ud800", "\udfff\ud800", "a\0b", "\u202e\u2066evil\u2069", "\u2028\u2029\x85", "e" + "\u0301" * 5000,
    "z\u0338\u0321\u0334\u035b" * 900, "👩\u200d" * 2000, "\ufeff" * 50, "\uffff\U0010ffff\ufdd0", "\ue000\U000f0000",
    "\u1100\u1161\u11a8" * 900, "\ufdfa" * 2000, "İıſKﬁ" * 300, "".join(chr(0xE0000 + n) for n in range(128)),
    "𝕲𝖔𝖔𝖉", "\x1b[2J\x07\x7f", "שלום\u200f\u061c مرحبا", "\u0000", " \u3000\u00a0\u200b", "\u0e33" * 3000, "한" * 4000,
]  # fmt: skip
"""Halves of pairs, NUL, orders of writing, line ends, towers of marks, joined signs, what is no character."""
VALUES: list[Any] = [None, True, False, 0, -1, 1.5, 10**400, 1e308, -(2**63) - 1, [], {}, [[]], [None], {"": ""}, ""]
VALUES += [[1] * 3000, "x" * 60_000, {"kind": "sample"}, [{}] * 1500, ["a"] * 1500, {"text": "a"}, float("nan")]
LITERALS = [b"NaN", b"-Infinity", b"1e9999", b"0x10", b"'a'", b"undefined", b"9" * 5000, b"[" * 5000, b'{"a":' * 3000]
LENGTHS = [b"-1", b"+5", b"0", b"1", b"5, 5", b"1e3", b"", b"99999999999999999999", b"0x10", b"\xb2", b"4 2", b"007"]
METHODS = [
    b"GET",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"post",
    b"P\0ST",
    b"",
    b"A" * 9000,
]
TARGETS = [
    b"*",
    b"http://evil.example/",
    b"//evil",
    b"/%00",
    b"/%",
    b"/..;/",
    b"/v1/../..",
    b"/\xff",
    b"/" + b"a" * 70_000,
]
TARGETS += [b"", b"/?" + b"a=b&" * 9000, b"/v1/classify#x", b"/models/%F0%28%8C%28", b"/v1/tag/bulk?model=%00"]
HEADERS = [
    b"Host: evil.example", b"Host:", b"X: " + b"a" * 70_000, b"X\0: a", b"X : a", b" X: a",
    b"X: a\r\n\tb", b"\xff: \xff", b"Content-Encoding: gzip", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked", b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: " + b"close," * 900,
    b"Origin: null", b"Range: bytes=0-1", b"X-Request-Timeout: 1e9", b"X-Request-Timeout: -1", b"X-Request-Id: a\rb",
    b"Content-Type: application/json; charset=utf-7",
    b"Content-Type: " + b"a/" * 900, b"Authorization: Bearer " + b"\xff" * 900, b"Cookie: a=\0",
    b"\r\n".join([b"X: a"] * 2000),
]  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One that is answered."""

    path: str
    body: bytes
    media_type: str


@dataclass(frozen=True)
class Mutation:
    kind: str
    content: bytes  # what goes over the wire
    is_whole: bool  # whether an answer may be waited for


def mutations(questions: Sequence[Question], seed: int) -> Iterator[Mutation]:
    """Without an end: half of them broken as HTTP, half as JSON."""
    chance = random.Random(seed)
    while True:
        yield _http(chance, chance.choice(questions))
        yield _json(chance, chance.choice(questions))


def request(
    question: Question, body: bytes, method: bytes = b"POST", target: bytes | None = None, headers: Sequence[bytes] = ()
) -> bytes:
    place = question.path.encode() if target is None else target
    own = [b"Host: localhost", b"Connection: close", b"Content-Type: " + question.media_type.encode()]
    length = (
        [] if any(line.lower().startswith((b"content-l", b"transfer")) for line in headers) else [b"%d" % len(body)]
    )
    lines = [*own, *(b"Content-Length: " + one for one in length), *headers]
    return method + b" " + place + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


# -------------------------------------------------------------------------------------------------------------- HTTP
def _http(chance: random.Random, question: Question) -> Mutation:
    kind = chance.choice([*_HTTP])
    return Mutation(kind, _HTTP[kind](chance, question), kind in ("method", "target", "coded"))


def _chunks(chance: random.Random, question: Question) -> bytes:
    size, step = len(question.body), chance.randint(1, 40)
    parts = [question.body[start : start + step] for start in range(0, size, step)]
    head = chance.choice([b"%x", b"%x;a=b", b"%X", b"%X", b"0x%x", b"-%x", b"%x0", b"f%xffffffffffffff", b"%x\r"])
    body = b"".join(head % len(part) + b"\r\n" + part + chance.choice([b"\r\n", b"\r\n", b"\n", b""]) for part in parts)
    extra = [b"Content-Length: 3"] if chance.random() < 0.2 else []
    return request(
        question,
        body + chance.choice([b"0\r\n\r\n", b"0\r\nX: a\r\n\r\n", b""]),
        headers=[b"Transfer-Encoding: chunked", *extra],
    )


def _pipelined(chance: random.Random, question: Question) -> bytes:
    again = request(question, question.body).replace(b"Connection: close", b"Connection: keep-alive")
    return again * chance.randint(1, 5) + chance.choice([request(question, question.body), b"\0\xff\r\n\r\n", b"GET"])


def _flipped(chance: random.Random, question: Question) -> bytes:
    content = bytearray(request(question, question.body))
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def _truncated(chance: random.Random, question: Question) -> bytes:
    content = request(question, question.body)
    return content[: chance.randrange(1, len(content))]


_HTTP: dict[str, Callable[[random.Random, Question], bytes]] = {
    "length": lambda chance, one: request(one, one.body, headers=[b"Content-Length: " + chance.choice(LENGTHS)]),
    "chunks": _chunks,
    "pipelined": _pipelined,
    "flipped": _flipped,
    "truncated": _truncated,
    "method": lambda chance, one: request(one, one.body, chance.choice(METHODS)),
    "target": lambda chance, one: request(one, one.body, target=chance.choice(TARGETS)),
    "header": lambda chance, one: request(one, one.body, headers=chance.choices(HEADERS, k=chance.randint(1, 3))),
    "coded": lambda chance, one: request(
        one, one.body.decode().encode(chance.choice(["utf-16", "utf-32", "utf-8-sig"]))
    ),
}


# -------------------------------------------------------------------------------------------------------------- JSON
def _json(chance: random.Random, question: Question) -> Mutation:
    kind = chance.choice(["text", "value", "name", "bytes"])
    if kind == "bytes":
        body = bytearray(question.body)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 4)] = chance.choice(
                [b"", b"\xc0\x80", b"\xed\xa0\x80", *LITERALS, b",", b'"']
            )
        return Mutation("json bytes", request(question, bytes(body)), True)
    lines = [_changed(chance, json.loads(line), kind) for line in question.body.split(b"\n")]
    body_of = "\n".join(json.dumps(line, ensure_ascii=chance.random() < 0.7) for line in lines)
    return Mutation(f"json {kind}", request(question, body_of.encode("utf-8", "surrogatepass")), True)


def _changed(chance: random.Random, value: Any, kind: str) -> Any:
    """The value with one or two of its places changed."""
    places = [*_places(value, ())]
    for place in chance.sample(places, min(len(places), chance.randint(1, 2))):
        value = _with(value, place, lambda old: _hostile(chance, old, kind))
    return value


def _hostile(chance: random.Random, old: Any, kind: str) -> Any:
    if kind == "text" and isinstance(old, str):
        odd = chance.choice(UNICODE)
        return chance.choice([odd, old + odd, odd + old, odd.join(old[:9])])
    if kind == "name" and isinstance(old, dict):
        return old | {
            chance.choice([*UNICODE[:6], *old, "parameters", "model", "text", "top_k"]): chance.choice(VALUES)
        }
    return chance.choice(VALUES) if kind == "value" else old


def _places(value: Any, here: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from _places(one, (*here, name))


def _with(value: Any, place: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not place or not isinstance(value, dict | list):
        return change(value)
    first, *rest = place
    if isinstance(value, dict):
        return {**value, first: _with(value.get(first), tuple(rest), change)}
    return [_with(one, tuple(rest), change) if number == first else one for number, one in enumerate(value)]
