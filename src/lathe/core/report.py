"""What a person sees while something runs: progress with a rate and the time left, on standard error."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

PLAIN_EVERY_S = 10.0
"""Seconds between two progress lines where standard error is not a terminal."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class Told(NamedTuple):
    """What a verb that makes no bundle has to say: to a person, and to a program."""

    text: str
    values: dict[str, Any]


def say(message: str) -> None:
    """One line for the person at the terminal. Where nobody can read it (a full disk, a closed pipe) work goes on."""
    if (lines := _heard.get()) is not None:
        lines.append(message)
    if not _quiet.get():
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Within it, the lines that are said are also kept, for a report."""
    lines: list[str] = []
    token = _heard.set(lines)
    try:
        yield lines
    finally:
        _heard.reset(token)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, nothing is said and no progress is shown: another process does that."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def say_json(values: dict[str, Any]) -> None:
    """One JSON object on one line of standard output, for programs."""
    print(json.dumps(values, ensure_ascii=False), flush=True)


@dataclass
class Meter:
    """Counts units of work, and knows the rate and the time left."""

    label: str
    total: int | None
    unit: str
    done: int = 0
    note: str = ""
    started_s: float = field(default_factory=time.perf_counter)
    _first: int = 0
    _spoken_s: float = field(default_factory=time.perf_counter)
    _bar: Progress | None = None
    _task: TaskID | None = None

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.note = note or self.note
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, state=self.state())
        elif time.perf_counter() - self._spoken_s >= PLAIN_EVERY_S:
            self._spoken_s = time.perf_counter()
            say(f"{self.label}: {self.state()}")

    def skip(self, count: int) -> None:
        """Units that an earlier run has done: they count, but not for the rate."""
        self._first += count
        self.advance(count)

    @property
    def rate(self) -> float:
        """Units a second since the start of this process's part."""
        return (self.done - self._first) / max(time.perf_counter() - self.started_s, 1e-9)

    def state(self) -> str:
        of = f"/{self.total:,}" if self.total else ""
        left = (
            f", {_clock((self.total - self.done) / self.rate)} left" if self.total and self.done > self._first else ""
        )
        note = f"  {self.note}" if self.note else ""
        return f"{self.done:,}{of} {self.unit}, {self.rate:,.0f} {self.unit}/s{left}{note}"


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "rows") -> Iterator[Meter]:
    """A progress bar on a terminal, a line now and then elsewhere.

    >>> with progress("reading", total=3, unit="rows") as meter:
    ...     for _ in range(3):
    ...         meter.advance()
    """
    console = Console(stderr=True)
    meter = Meter(label, total, unit)
    if _quiet.get() or not console.is_terminal:
        yield meter
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        meter._bar, meter._task = bar, bar.add_task(label, total=total, state="")
        yield meter


def _clock(seconds: float) -> str:
    whole = round(max(seconds, 0))
    return (
        f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"
    )
