"""What every request passes first and last: who it is from, how much it brings, what is noted of it.

An ASGI application around another. Nothing is open to those without a key, where there are keys, but whether the server
lives and is ready.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lathe.serve.gate import Gate
from lathe.serve.keeper import Keeper, figures
from lathe.serve.keys import Keys, is_known_host
from lathe.serve.limits import Limits
from lathe.serve.meters import Meters
from lathe.serve.problems import problem
from lathe.serve.visit import Visit
from lathe.serve.web import ASGIApp, HTTPException, Message, Receive, Response, Scope, Send

OPEN = ("/health", "/ready")
"""What needs no key."""
QUIET = (*OPEN, "/v1/traffic")
"""What is asked again and again, and noted only where it fails."""
PAGE = ("/", "/page/")
"""What is for browsers, and holds nothing of anybody's."""

_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


@dataclass
class Guard:
    """Around an application."""

    app: ASGIApp
    limits: Limits
    keys: Keys = field(default_factory=Keys)
    hosts: frozenset[str] = frozenset()  # further names of this server
    meters: Meters = field(default_factory=Meters)
    writes_log: bool = True
    gate: Gate = field(default_factory=Gate)
    keeper: Keeper | None = None
    draining: bool = False  # it ends: connections are closed after their answer, and it is not ready
    _bytes: int = 0  # of all requests that are under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        visit = scope["visit"] = Visit.of(headers, self.limits.answer_s)
        scope["guard"], status = self, 499  # the client has left, unless an answer begins
        self.meters.in_flight += 1

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *self._headers(visit, message.get("headers", []))]
            if not await _sent(send, message):
                status = 499

        try:
            if (refusal := self._refusal(scope, headers, visit)) is not None:
                await refusal(scope, receive, noted)
            else:
                await self.app(scope, self._counted(visit, receive), noted)
        except Exception:  # the application has said its place, and answered 500 unless it had begun to answer
            status = 500
        finally:
            self.meters.in_flight -= 1
            self._bytes -= visit.size_bytes
            self._note(scope, visit, status)

    def shut(self, path: str, lasts: Callable[[], bool], answer: Response) -> None:
        """Answer others so, unseen, as long as it lasts: where all are equal, since nobody has a key."""
        if not self.keys and not self.draining:
            self.gate.shut(path, lasts, [*answer.raw_headers, *_HEADERS], bytes(answer.body))

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes], visit: Visit) -> Response | None:
        """The answer to a request that goes no further."""
        path = scope["path"]
        if not is_known_host(headers, self.hosts):
            return problem(path, 421, "this server has another name; ask it by its address, or name it in hosts=[...]")
        visit.key = (self.keys.holder(headers) or "") if self.keys else ""
        if self.keys and not visit.key and not (_is_open(path) and scope["method"] in ("GET", "HEAD")):
            way = {"WWW-Authenticate": "Bearer"}
            return problem(path, 401, "send a key: the header Authorization: Bearer KEY", way)
        if path in OPEN:
            return None
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > self.limits.body_bytes:
            return problem(path, 413, self._too_large)
        if self.meters.in_flight > self.limits.requests:
            return problem(path, 429, "too many requests at a time; ask again", {"Retry-After": "1"})
        return None

    def _counted(self, visit: Visit, receive: Receive) -> Receive:
        """The body, as long as it is neither too large nor too slow."""
        until_s = time.monotonic() + self.limits.body_s
        is_whole = False

        async def counted() -> Message:
            nonlocal is_whole
            if is_whole:
                return await receive()  # waits for the client to leave
            try:
                async with asyncio.timeout(max(0.0, until_s - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self.limits.body_s:g} s") from None
            is_whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            visit.size_bytes, self._bytes = visit.size_bytes + size, self._bytes + size
            if visit.size_bytes > self.limits.body_bytes:
                raise HTTPException(413, self._too_large)
            if self._bytes > self.limits.arriving_bytes:
                raise HTTPException(429, "too much arrives at a time; ask again", {"Retry-After": "1"})
            return message

        return counted

    @property
    def _too_large(self) -> str:
        return f"the body is too large; at most {self.limits.body_bytes:,} bytes are taken"

    def _headers(self, visit: Visit, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Beside those of the answer, which the page alone has of its own."""
        named = {name for name, _ in given}
        closing = [(b"connection", b"close")] if self.draining else []
        return [*(one for one in _HEADERS if one[0] not in named), *closing, (b"x-request-id", visit.id.encode())]

    def _note(self, scope: Scope, visit: Visit, status: int) -> None:
        """Count the request, and write its line: never a text, nor a path that the client has made up."""
        took_s, route = time.perf_counter() - visit.since_s, getattr(scope.get("route"), "path", "")
        self.meters.count("lathe_requests_total", route=route, model=visit.model, status=str(status))
        self.meters.time(took_s, route=route)
        if scope["method"] == "POST":
            self.meters.recent.note(took_s, visit.model, status)
        if visit.rows:
            self.meters.count("lathe_rows_total", visit.rows, model=visit.model)
            self.meters.count("lathe_tokens_total", visit.tokens, model=visit.model)
        keeps = self.keeper is not None and self.keeper.options.statistics
        if (self.writes_log or keeps) and not (route in QUIET and status == 200):
            line: dict[str, Any] = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "id": visit.id,
                "method": scope["method"] if scope["method"].isalpha() else "?",
                "route": route,
                "status": status,
                "ms": round(1000 * took_s, 2),
                "key": visit.key,
                "model": visit.model,
                "rows": visit.rows,
                "tokens": visit.tokens,
                "bytes": visit.size_bytes,
            }
            if self.keeper is not None:
                self.keeper.note(figures(line))
            if not self.writes_log:
                return
            with suppress(OSError):  # where nobody can read it, work goes on
                print(json.dumps(line), file=sys.stderr, flush=True)


async def _sent(send: Send, message: Message) -> bool:
    """Whether it could be: the HTTP server closes a connection on which nonsense comes after a request."""
    try:
        await send(message)
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        return False
    return True


def _is_open(path: str) -> bool:
    return path in OPEN or path == PAGE[0] or path.startswith(PAGE[1])
