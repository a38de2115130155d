"""The process of a server: it listens, takes new models, and ends without losing a request.

The only file that imports uvicorn.
"""

import asyncio
import gc
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lathe.core.runtime import stop_flag
from lathe.serve.gate import Gate
from lathe.serve.guard import Guard
from lathe.serve.limits import Limits

GRACE_S = 10
"""Seconds that requests under way may still take when no new ones are taken."""
SWITCH_S = 0.0005
"""So long a thread that computes may keep the others from running Python: requests come and go in between."""
HEAD_BYTES = 64 << 10
"""Most bytes of a request before its body."""
LINGER_S = 2.0
"""After an answer that did not wait for the whole request, its rest is read for so long, and thrown away."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

Refresh: TypeAlias = Callable[[], Awaitable[None]]
"""What SIGHUP asks for."""


class _Server(uvicorn.Server):
    """At the first signal it says that it is not ready, and still answers for a while: who asks meanwhile is not lost.

    Connections are closed after each answer from then on.
    """

    def __init__(self, config: uvicorn.Config, guard: Guard, drain_s: float, refresh: Refresh) -> None:
        super().__init__(config)
        self.guard, self.drain_s, self.refresh, self.ends_s = guard, drain_s, refresh, float("inf")
        self._refreshing = set[asyncio.Future[None]]()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if threading.current_thread() is threading.main_thread():  # no other hears signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._refresh)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.guard.draining or not self.drain_s:
            super().handle_exit(sig, frame)
        else:
            self._captured_signals.append(sig)
            self.ends_s = time.monotonic() + self.drain_s
        self.guard.draining = True

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() >= self.ends_s:
            self.should_exit = True
        return await super().on_tick(counter)

    def _refresh(self) -> None:
        task = asyncio.ensure_future(self.refresh())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)


class Connection(HttpToolsProtocol):
    """Ends the connection of a client that does not send its request, or does not read its answer, in time."""

    def __init__(self, limits: Limits, gate: Gate, **given: Any) -> None:
        super().__init__(**given)
        self.limits, self.gate = limits, gate
        self._in_head, self._is_whole = True, True
        self._head_bytes = 0  # of the request that arrives, as far as its body has not begun
        self._arriving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._is_ending = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        if self._is_idle and (refusal := self.gate.refusal(data)) is not None:
            self._refuse(refusal)
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._end(_TOO_LARGE)
            elif not self.transport.is_closing():
                self._await_head()
        elif not self._is_whole and self.cycle.response_complete:
            self._end(b"")

    @property
    def _is_idle(self) -> bool:
        return self._is_whole and (self.cycle is None or self.cycle.response_complete)

    def _refuse(self, answer: bytes) -> None:
        """As after any other answer the next request may come."""
        self._stop_waiting()
        self.transport.write(answer)
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._is_whole = True, False

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_whole = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(self.limits.body_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _await_head(self) -> None:
        if self._arriving is None:
            self._arriving = self.loop.call_later(self.limits.body_s, self._leave)

    def _leave(self) -> None:
        self._arriving = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # the one before is still to be answered
            self._await_head()

    def _stop_waiting(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _end(self, answer: bytes) -> None:
        """Say the last, and close when the client has had time to read it."""
        self._is_ending = True
        self._stop_waiting()
        self.transport.write(answer)
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)


def serve(guard: Guard, listener: socket.socket, drain_s: float, refresh: Refresh) -> None:
    """Answer until SIGTERM or SIGINT, then end; a second signal waits no longer."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is an open file
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # libraries and models stay; to look through them for garbage takes a third of a second each time
    with stop_flag():  # uvicorn raises the signal again when it is done; being asked to stop is no failure
        make_server(guard, drain_s, refresh).run(sockets=[listener])


def make_server(guard: Guard, drain_s: float, refresh: Refresh) -> uvicorn.Server:
    config = uvicorn.Config(
        guard,
        http=partial(Connection, guard.limits, guard.gate),  # type: ignore[arg-type]
        ws="none",
        interface="asgi3",
        lifespan="on",
        proxy_headers=False,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Server(config, guard, drain_s, refresh)
