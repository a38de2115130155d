"""Between the event loop and the store of feedback: nothing that waits for a disk is done on the loop."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from lathe.core.report import say
from lathe.feedback.store import Outcome, Record, Store, StoreError
from lathe.serve.beside import Beside
from lathe.serve.keeping import Keeping
from lathe.serve.refusals import Problem

T = TypeVar("T")

TOGETHER = 256
"""Most records of one transaction: those that wait are written together."""
WAITING = 4096
"""Most records, and most figures, that wait."""
NOTES_S = 1.0
"""So often figures of requests are written."""
PURGE_S = 3600.0


class Keeper:
    """A store, a thread that writes feedback, one that does all else, and one for figures."""

    def __init__(self, options: Keeping) -> None:
        """Raises ``StoreError``."""
        self.options, self.dropped = options, 0
        self.store = Store(options.store or "", options.most_bytes)
        self._beside = Beside(1, "feedback")
        self._records: queue.Queue[tuple[Record, Future[Outcome]] | None] = queue.Queue(WAITING)
        self._notes: queue.Queue[Mapping[str, Any]] = queue.Queue(WAITING)
        self._ends = threading.Event()
        works = [self._write, self._tidy, *([self._count] if options.statistics else [])]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """What waits is still written."""
        self._ends.set()
        self._records.put(None)
        for thread in self._threads:
            thread.join(10)
        self._beside.close()
        self.store.close()

    def add(self, record: Record) -> "Future[Outcome]":
        """Done when it is on the disk. Raises ``Problem`` where too many wait."""
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        try:
            self._records.put_nowait((record, future))
        except queue.Full:
            raise Problem(429, "too much feedback waits to be written; send it again", 1.0) from None
        return future

    async def ask(self, work: Callable[[Store], T]) -> T:
        """What the store says. Raises ``StoreError``."""
        return await self._beside.call(lambda: work(self.store))

    def note(self, figures: Mapping[str, Any]) -> None:
        """Keep the figures of a request, or drop and count them: no request waits for them."""
        if self.options.statistics:
            try:
                self._notes.put_nowait(figures)
            except queue.Full:
                self.dropped += 1

    def _write(self) -> None:
        while (first := self._records.get()) is not None:
            group = [first]
            while len(group) < TOGETHER and not self._records.empty():
                if (one := self._records.get()) is None:
                    self._records.put(None)
                    break
                group.append(one)
            try:
                outcomes = self.store.add([record for record, _ in group])
            except Exception as error:
                for _, future in group:
                    future.set_exception(error)
            else:
                for (_, future), outcome in zip(group, outcomes, strict=True):
                    future.set_result(outcome)

    def _tidy(self) -> None:
        while self.options.keep_days is not None:
            try:
                self.store.purge(self.options.keep_days)
            except StoreError as error:
                say(f"feedback.keep_days: {error}")
            if self._ends.wait(PURGE_S):
                return

    def _count(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ends.wait(NOTES_S)
            taken = [self._notes.get() for _ in range(self._notes.qsize())]
            try:
                if taken:
                    self.store.note(taken)
            except StoreError:
                self.dropped += len(taken)


def figures(line: Mapping[str, Any], now_s: float | None = None) -> dict[str, Any]:
    """What is kept of the line that the log has of a request."""
    names = ("id", "route", "model", "status", "ms", "rows", "tokens")
    return {"at_s": time.time() if now_s is None else now_s, "by": line["key"]} | {name: line[name] for name in names}
