"""Threads beside the event loop: what would hold it up is called there, and answered to it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Beside:
    """Some threads. Made for calls so short that an executor's own work would be most of them."""

    def __init__(self, threads: int, name: str) -> None:
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name} {n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def call(self, work: "Callable[[], T | Future[T]]") -> "asyncio.Future[T]":
        """What ``work`` gives, or what comes of the future that it gives, which is cancelled with this one."""
        call = _Call(asyncio.get_running_loop(), work)
        self._calls.put(call)
        return call.answer

    def close(self) -> None:
        """What waits is still called."""
        for _ in self._threads:
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()


class _Call(Generic[T]):
    """From the event loop to a thread and back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: "Callable[[], T | Future[T]]") -> None:
        self.loop, self.work = loop, work
        self.answer: asyncio.Future[T] = loop.create_future()
        self.answer.add_done_callback(self._ended)
        self._inner: Future[T] | None = None

    def run(self) -> None:
        if self.answer.cancelled():
            return
        found: Future[T]
        try:
            given = self.work()
        except Exception as error:
            found = Future()
            found.set_exception(error)
        else:
            found = given if isinstance(given, Future) else Future()
            if found is not given:
                found.set_result(given)  # type: ignore[arg-type]
        self._inner = found
        if self.answer.cancelled():
            found.cancel()
        found.add_done_callback(self._tell)

    def _tell(self, found: "Future[T]") -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            self.loop.call_soon_threadsafe(self._take, found)

    def _take(self, found: "Future[T]") -> None:
        if self.answer.done():
            return
        if found.cancelled():
            self.answer.cancel()
        elif (error := found.exception()) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(found.result())

    def _ended(self, answer: "asyncio.Future[T]") -> None:
        if answer.cancelled() and self._inner is not None:
            self._inner.cancel()
