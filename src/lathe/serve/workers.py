"""Several processes that answer on one port, and the one that watches over them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NamedTuple, TypeAlias

from lathe.core.errors import LatheError
from lathe.core.report import say
from lathe.core.runtime import end_with_parent, take_share

Work: TypeAlias = Callable[[int], None]
"""What a worker does, given its number. It is pickled on its way there: from one of our processes to another."""

EARLY_S = 10.0
"""A worker that ends sooner has not begun well."""
TRIES = 3
"""So many that have not, one after the other, end all."""


class _Worker(NamedTuple):
    process: BaseProcess
    since_s: float

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or os.getpid(), number)


class Workers:
    """So many processes, each on its share of the cores; one that dies is replaced."""

    def __init__(self, count: int, work: Work, stopping: Callable[[], None]) -> None:
        self.count, self.work, self.stopping = count, work, stopping
        self.is_ending = False
        self._workers: dict[int, _Worker] = {}
        self._failures = 0  # in a row

    def run(self) -> None:
        """Until asked to stop: SIGTERM and SIGINT end each after its requests, SIGHUP is passed on to it.

        ``stopping`` is called first of all then. Raises ``LatheError`` where workers cannot begin.
        """
        with _handled(self._pass_on, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for place in range(self.count):
                self._begin(place)
            while self._workers:
                ended = wait([worker.process.sentinel for worker in self._workers.values()])
                for place in [place for place, one in self._workers.items() if one.process.sentinel in ended]:
                    self._look_at(place)

    def _begin(self, place: int) -> None:
        process = get_context("spawn").Process(target=_run, args=(self.work, place, self.count), name=f"worker {place}")
        process.start()
        self._workers[place] = _Worker(process, time.monotonic())

    def _look_at(self, place: int) -> None:
        """One that has ended."""
        process, since_s = self._workers.pop(place)
        process.join()
        if self.is_ending:
            return
        self._failures = self._failures + 1 if time.monotonic() - since_s < EARLY_S else 0
        if process.exitcode == LatheError.exit_code or self._failures == TRIES:
            self._stop()
            raise LatheError(f"worker {place} cannot begin (exit code {process.exitcode}); what it said stands above")
        say(f"worker {place} has ended (exit code {process.exitcode}); another takes its place")
        self._begin(place)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            for worker in self._workers.values():
                worker.signal(number)
        else:
            self._stop()

    def _stop(self) -> None:
        if not self.is_ending:
            self.stopping()
        self.is_ending = True
        for worker in self._workers.values():
            worker.signal(signal.SIGTERM)


def _run(work: Work, place: int, count: int) -> None:
    """In the new process. Signals of the terminal reach the first one alone, which passes them on."""
    end_with_parent()
    os.setpgrp()
    take_share(place, count)
    try:
        work(place)
    except LatheError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from None


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
