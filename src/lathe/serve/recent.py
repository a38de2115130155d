"""The requests of the last minutes, by the second: how many there were, how they ended and how long they took."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

_LEAST_S, _STEP = 0.0001, 1.1  # times are counted in steps of a tenth: quantiles are right to 5 %
_MOST_STEPS = 150


class Quantiles(NamedTuple):
    """Requests of the window, and how long they took; None where there were none."""

    requests: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass
class _Second:
    number: int
    statuses: Counter[str] = field(default_factory=Counter)
    times: Counter[tuple[str, int]] = field(default_factory=Counter)  # (model, step) -> requests


class Recent:
    """A ring of seconds; what it takes is bounded by the window, whatever comes."""

    def __init__(self, window_s: int = 120, clock: Callable[[], float] = time.monotonic) -> None:
        self.window_s, self._clock = window_s, clock
        self._seconds: deque[_Second] = deque()
        self._lock = threading.Lock()

    def note(self, took_s: float, model: str, status: int) -> None:
        with self._lock:
            second = self._now()
            second.statuses[str(status)] += 1
            second.times[model, _step(took_s)] += 1

    def seconds(self) -> list[tuple[int, dict[str, int]]]:
        """How long ago each was, and its requests by status; those with requests, the oldest first."""
        with self._lock:
            now = self._now().number
            held = [second for second in self._seconds if second.statuses]
            return [(now - second.number, dict(second.statuses)) for second in held]

    def of(self, model: str | None) -> Quantiles:
        """Of one model's requests, or of all."""
        with self._lock:
            self._now()
            steps: Counter[int] = Counter()
            for second in self._seconds:
                for (asked, step), count in second.times.items():
                    if model is None or asked == model:
                        steps[step] += count
        return Quantiles(steps.total(), *(_quantile(steps, share) for share in (0.5, 0.95, 0.99)))

    def _now(self) -> _Second:
        number = int(self._clock())
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        while self._seconds[0].number <= number - self.window_s:
            self._seconds.popleft()
        return self._seconds[-1]


def _step(took_s: float) -> int:
    return min(_MOST_STEPS, max(0, math.floor(math.log(max(took_s, _LEAST_S) / _LEAST_S, _STEP))))


def _quantile(steps: Counter[int], share: float) -> float | None:
    """Milliseconds within which this share of the requests was answered."""
    left = share * steps.total()
    for step in sorted(steps):
        left -= steps[step]
        if left <= 1e-9:
            return round(1000 * _LEAST_S * math.pow(_STEP, step + 0.5), 3)
    return None
