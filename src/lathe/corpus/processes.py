"""Work on several cores: fresh processes, results in order, and no process that outlives its parent."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from types import TracebackType
from typing import Self, TypeVar

from lathe.core.errors import LatheError

A = TypeVar("A")
B = TypeVar("B")


class Workers:
    """Some processes that stay for several rounds of work; they are started when there is work for two."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            if kind is not None:  # what they are at would be thrown away
                for process in multiprocessing.active_children():
                    process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
        """``map(function, items)``, several at a time; functions and values have to be picklable.

        Raises ``LatheError`` when a process dies.
        """
        if self.processes <= 1 or len(items) <= 1:
            yield from map(function, items)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads
            self._pool = ProcessPoolExecutor(self.processes, context, _end_with_parent)
        futures = deque(self._pool.submit(function, item) for item in items)
        try:
            while futures:
                yield futures.popleft().result()
        except BrokenProcessPool:
            raise LatheError(
                "a worker process was ended from outside (by the system where memory ran out, or by somebody); run the "
                "same command again: it goes on from what is saved; fewer processes need less memory (processes=1)"
            ) from None


def _end_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent ends its workers
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
