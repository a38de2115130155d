"""A client that asks as fast or as often as it is told, and keeps the time of every answer.

One for all servers: HTTP/1.1 on kept connections, bytes ready before the clock starts, answers read by their length.
``closed`` keeps so many requests under way (what a server can do); ``open`` asks at a rate, whether answers come or not
(what its users meet): an answer's time counts from when its question was due.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvloop

LOST = 0
"""Status of a request whose connection ended before its answer."""


@dataclass
class Load:
    """What was asked and answered; a place of each list is a request."""

    due_s: list[float] = field(default_factory=list)  # since the load began
    took_s: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)  # which of the bodies
    bodies: list[bytes] = field(default_factory=list)  # of the answers, where they are kept
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Answers a second, and times in milliseconds, of those that were answered with 200; the others counted."""
        took_ms = 1000 * np.array(self.took_s)
        status = np.array(self.status)
        good, refused = took_ms[status == 200], took_ms[status == 429]
        found: dict[str, Any] = {
            "requests": len(status),
            "answered": len(good),
            "answered_per_second": round(len(good) / self.seconds, 1),
            **{f"p{share}_ms": _percentile(good, share) for share in (50, 95, 99)},
            "other": {str(one): int((status == one).sum()) for one in sorted({*self.status} - {200})},
        }
        if len(refused):
            found |= {f"refused_p{share}_ms": _percentile(refused, share) for share in (50, 99)}
        return found


def _percentile(values: "np.ndarray[Any, Any]", share: int) -> float | None:
    return round(float(np.percentile(values, share)), 2) if len(values) else None


def post(path: str, body: bytes, host: str, headers: Sequence[str] = ()) -> bytes:
    """The bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def get(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


class _Connection(asyncio.Protocol):
    """One request at a time; ``tell`` is called with each answer's status and body."""

    def __init__(self) -> None:
        self.buffer, self.answer = b"", None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        place = head.find(b"content-length:")
        size = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self.buffer) < end + 4 + size:
            return
        body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
        if b"connection: close" in head:
            self.transport.close()
        self._tell(int(head[9:12]), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(LOST, b"")

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self.answer = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            self._tell(LOST, b"")
        else:
            self.transport.write(request)
        return self.answer

    def _tell(self, status: int, body: bytes) -> None:
        answer, self.answer = self.answer, None
        if answer is not None and not answer.done():
            answer.set_result((status, body))


class Client:
    """Connections to one server."""

    def __init__(self, host: str, port: int, requests: Sequence[bytes], keeps_bodies: bool = False) -> None:
        self.host, self.port, self.requests, self.keeps_bodies = host, port, requests, keeps_bodies
        self._free: deque[_Connection] = deque()
        self.was_closed = False  # whether the connection of the last answer ended with it

    async def ask(self, number: int, load: Load, due_s: float, start_s: float) -> int:
        """Ask one question, and note its answer."""
        connection = await self._connection()
        status, body = (LOST, b"") if connection is None else await connection.ask(self.requests[number])
        load.due_s.append(due_s)
        load.took_s.append(time.perf_counter() - start_s - due_s)
        load.status.append(status)
        load.question.append(number)
        if self.keeps_bodies:
            load.bodies.append(body)
        self.was_closed = connection is None or connection.transport.is_closing()
        if connection is not None and not self.was_closed:
            self._free.append(connection)
        return status

    async def closed(self, clients: int, seconds: float) -> Load:
        """So many clients, each asking again as soon as it is answered."""
        load, start_s = Load(), time.perf_counter()
        numbers = itertools.cycle(range(len(self.requests)))

        async def one() -> None:
            while (now_s := time.perf_counter() - start_s) < seconds:
                await self.ask(next(numbers), load, now_s, start_s)

        await asyncio.gather(*(one() for _ in range(clients)))
        load.seconds = time.perf_counter() - start_s
        self.close()
        return load

    async def each(self, clients: int) -> Load:
        """Every question once, by so many clients."""
        load, start_s, numbers = Load(), time.perf_counter(), iter(range(len(self.requests)))

        async def one() -> None:
            for number in numbers:
                await self.ask(number, load, time.perf_counter() - start_s, start_s)

        await asyncio.gather(*(one() for _ in range(clients)))
        load.seconds = time.perf_counter() - start_s
        self.close()
        return load

    async def until(self, ends: asyncio.Event, clients: int, stops_when_closed: bool = False) -> Load:
        """So many clients that ask on until told to end, or until the server closes their connection."""
        load, start_s = Load(), time.perf_counter()

        async def one() -> None:
            while not ends.is_set():
                await self.ask(0, load, time.perf_counter() - start_s, start_s)
                if stops_when_closed and self.was_closed:
                    return

        await asyncio.gather(*(one() for _ in range(clients)))
        load.seconds = time.perf_counter() - start_s
        self.close()
        return load

    async def open(self, rate: float, seconds: float, seed: int = 0) -> Load:
        """Questions at random times, ``rate`` a second, until all are answered."""
        load, start_s, asked = Load(), time.perf_counter(), set[asyncio.Task[int]]()
        numbers = itertools.cycle(range(len(self.requests)))
        for due_s in _arrivals(rate, seconds, seed):
            rest_s = due_s - (time.perf_counter() - start_s)
            if rest_s > 0.0005:
                await asyncio.sleep(rest_s)
            task = asyncio.ensure_future(self.ask(next(numbers), load, due_s, start_s))
            asked.add(task)
            task.add_done_callback(asked.discard)
        if asked:
            await asyncio.wait(asked)
        load.seconds = seconds
        self.close()
        return load

    def close(self) -> None:
        while self._free:
            self._free.pop().transport.close()

    async def _connection(self) -> _Connection | None:
        while self._free:
            found = self._free.pop()
            if not found.transport.is_closing():
                return found
        try:
            _, made = await asyncio.get_running_loop().create_connection(_Connection, self.host, self.port)
        except OSError:
            return None
        return made


def _arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    draw, due_s = np.random.default_rng(seed), 0.0
    while (due_s := due_s + draw.exponential(1 / rate)) < seconds:
        yield due_s


def closed(client: Client, clients: int, seconds: float, warm_s: float = 1.0) -> Load:
    """After a while that is not counted."""

    async def both() -> Load:
        await client.closed(clients, warm_s)
        return await client.closed(clients, seconds)

    return uvloop.run(both())


def opened(client: Client, rate: float, seconds: float, seed: int = 0) -> Load:
    return uvloop.run(client.open(rate, seconds, seed))
