"""Work on several cores: fresh processes, results in order, and no process that outlives its parent."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import parent_process
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def map_processes(function: Callable[[A], B], items: Sequence[A], processes: int) -> Iterator[B]:
    """``map(function, items)``, several at a time; the function and its values must be picklable."""
    if processes <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads
    with ProcessPoolExecutor(min(processes, len(items)), context, _end_with_parent) as pool:
        yield from _in_order(pool, function, items)


def _in_order(pool: ProcessPoolExecutor, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
