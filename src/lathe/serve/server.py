"""The process of a server: it listens, and ends without losing a request. The only file that imports uvicorn."""

import socket
import time
from types import FrameType

import uvicorn

from lathe.core.runtime import stop_flag
from lathe.serve.guard import Guard

GRACE_S = 10
"""Seconds that requests under way may still take when no new ones are taken."""


class _Server(uvicorn.Server):
    """At the first signal it says that it is not ready, and still answers for a while: who asks meanwhile is not lost.

    Connections are closed after each answer from then on.
    """

    def __init__(self, config: uvicorn.Config, guard: Guard, drain_s: float) -> None:
        super().__init__(config)
        self.guard, self.drain_s, self.ends_s = guard, drain_s, float("inf")

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


def serve(guard: Guard, listener: socket.socket, drain_s: float) -> None:
    """Answer until SIGTERM or SIGINT, then end; a second signal waits no longer."""
    config = uvicorn.Config(
        guard, log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S
    )
    with stop_flag():  # uvicorn raises the signal again when it is done; being asked to stop is no failure
        _Server(config, guard, drain_s).run(sockets=[listener])
