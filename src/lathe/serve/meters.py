"""Counts and times of requests, in the text format of Prometheus (version 0.0.4)."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

from lathe.serve.recent import Recent

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the times that are counted together."""
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass
class _Times:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0


class Meters:
    """What a process has counted since it began."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.recent = Recent()
        self._counts: dict[str, dict[Labels, int]] = defaultdict(lambda: defaultdict(int))
        self._times: dict[Labels, _Times] = defaultdict(_Times)
        self._lock = threading.Lock()

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        with self._lock:
            self._counts[name][tuple(labels.items())] += amount

    def time(self, seconds: float, **labels: str) -> None:
        with self._lock:
            times = self._times[tuple(labels.items())]
            times.counts[bisect_left(BOUNDS_S, seconds)] += 1
            times.sum_s += seconds

    def text(self, gauges: Mapping[str, Mapping[Labels, float]]) -> str:
        """All that was counted, and what is measured now under names of its own."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines(gauges))

    def _lines(self, gauges: Mapping[str, Mapping[Labels, float]]) -> Iterator[str]:
        for name, values in self._counts.items():
            yield f"# TYPE {name} counter"
            yield from (f"{name}{_labels(labels)} {value}" for labels, value in values.items())
        name = "lathe_request_seconds"
        yield f"# TYPE {name} histogram"
        for labels, times in self._times.items():
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), accumulate(times.counts), strict=True):
                yield f"{name}_bucket{_labels((*labels, ('le', bound)))} {count}"
            yield f"{name}_sum{_labels(labels)} {times.sum_s:.6f}"
            yield f"{name}_count{_labels(labels)} {sum(times.counts)}"
        for name, now in gauges.items():
            yield f"# TYPE {name} gauge"
            yield from (f"{name}{_labels(labels)} {value:g}" for labels, value in now.items())


def _labels(labels: Labels) -> str:
    r"""Names and values as the format writes them.

    >>> _labels((("model", 'a"b'),))
    '{model="a\\"b"}'
    """
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
