"""Rows that wait for a model, answered together: as many tokens at a time as pay, whoever asks for them.

What is done together is the same work for every row, and no row's answer depends on the rows beside it; so how waiting
rows are put together changes speed, and nothing else.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeAlias

Run: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]
"""Encoded rows in, an answer for each out. Rows of two requests go together where their work is equal (==)."""

KEEP = 0.9  # of what the batches before the newest say of the pace
UNSURE = 3  # of the first batches say nothing of it: what runs first runs slowly


class Busy(Exception):  # noqa: N818 (it is no fault)
    """So much waits already that more would wait too long; nothing was done."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many rows are waiting; ask again in {math.ceil(retry_s)} s")
        self.retry_s = retry_s


class Late(Exception):  # noqa: N818
    """The time that a request had is over, and its rows still wait."""


class Pace:
    """How long a batch takes, by those before it: some time for itself, and some for each token.

    The line through (tokens, seconds) with the least squares, in which every batch counts for less than the next.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        self._seen += 1
        if self._seen > UNSURE:
            self._weight = KEEP * self._weight + 1
            self._x, self._y = KEEP * self._x + tokens, KEEP * self._y + seconds
            self._xx, self._xy = KEEP * self._xx + tokens**2, KEEP * self._xy + tokens * seconds

    def seconds(self, tokens: int) -> float | None:
        """Of a batch of so many tokens; None as long as that is not known."""
        if not self._weight:
            return None
        x, y = self._x / self._weight, self._y / self._weight
        spread = self._xx / self._weight - x * x
        each = (self._xy / self._weight - x * y) / spread if spread > (0.05 * x) ** 2 else y / x
        each = min(max(each, 0.0), y / x)
        return y + each * (tokens - x)


@dataclass(eq=False)
class _Job:
    """The rows of one request."""

    run: Run
    rows: Sequence[Any]
    sizes: Sequence[int]  # tokens of each row
    key: str
    since_s: float
    until_s: float
    future: "Future[list[Any]]" = field(default_factory=Future)
    waiting: deque[int] = field(default_factory=deque)  # places of rows, the longest first
    answers: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting.extend(sorted(range(len(self.rows)), key=lambda place: -self.sizes[place]))

    def tell(self, places: Sequence[int], answers: Sequence[Any]) -> None:
        self.answers.update(zip(places, answers, strict=True))
        if len(self.answers) == len(self.rows):
            with suppress(InvalidStateError):  # nobody waits any more
                self.future.set_result([self.answers[place] for place in range(len(self.rows))])

    def fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class _Part(NamedTuple):
    """What a batch holds of a job."""

    job: _Job
    places: list[int]


class Batcher:
    """A thread that answers waiting rows, at most ``tokens`` of them together, a single longer row by itself.

    Keys take turns row by row: who asks for much waits behind himself. Where more than ``waiting_tokens`` would wait in
    all, or more than ``share_ratio`` of them for one key, or where an answer would take longer than ``wait_s`` at the
    pace of the last batches, a request is refused at once; an empty queue takes any. Rows wait up to ``hold_s`` for
    others beside them, and not at all if that is 0: what comes while a batch runs is the next.
    """

    def __init__(
        self,
        tokens: int = 8192,
        waiting_tokens: float = math.inf,
        share_ratio: float = 1.0,
        hold_s: float = 0.0,
        wait_s: float = math.inf,
    ) -> None:
        self.tokens, self.waiting_tokens, self.share_ratio, self.hold_s = tokens, waiting_tokens, share_ratio, hold_s
        self.wait_s = wait_s
        self._pace = Pace()
        self._announced = 0  # tokens of rows that are still being read
        self._free_s = 0.0  # when the batch that runs will have ended, by time.monotonic
        self._jobs: OrderedDict[str, deque[_Job]] = OrderedDict()  # of each key, whose turn it is first
        self._tokens_of: dict[str, int] = {}  # waiting, of each key
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def submit(
        self, run: Run, rows: Sequence[Any], sizes: Sequence[int], key: str = "", timeout_s: float = math.inf
    ) -> "Future[list[Any]]":
        """Answers to come, in the order of the rows; a cancelled one's rows are left out.

        ``sizes`` are the tokens of each row. Raises ``Busy`` where the queue is full; the answer raises ``Late`` where
        rows still wait after ``timeout_s``, or what ``run`` has raised for these rows.
        """
        now_s = time.monotonic()
        job = _Job(run, rows, sizes, key, now_s, now_s + timeout_s)
        if not rows:
            job.tell((), ())
            return job.future
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._refuse_busy(key, sum(sizes))
            self._jobs.setdefault(key, deque()).append(job)
            self._tokens_of[key] = self._tokens_of.get(key, 0) + sum(sizes)
            self._changed.notify()
        return job.future

    def refuse_busy(self, key: str, size: int) -> None:
        """Raises ``Busy`` where so many tokens more would not be taken."""
        with self._changed:
            self._refuse_busy(key, size)

    def announce(self, size: int) -> Callable[[], None]:
        """From now on about so many tokens are taken to wait, until what comes back is called, once or more often.

        Rows that are being read keep others out: else more would be read than can be answered.
        """
        left = size

        def withdraw() -> None:
            nonlocal left
            with self._changed:
                self._announced, left = self._announced - left, 0

        with self._changed:
            self._announced += size
        return withdraw

    def is_full(self, key: str, size: int) -> bool:
        try:
            self.refuse_busy(key, size)
        except Busy:
            return True
        return False

    def close(self) -> None:
        """End after the batch that runs; what still waits is cancelled."""
        with self._changed:
            self._closed = True
            for jobs in self._jobs.values():
                for job in jobs:
                    job.future.cancel()
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """Tokens that wait."""
        with self._changed:
            return sum(self._tokens_of.values())

    def _refuse_busy(self, key: str, size: int) -> None:
        own, total = self._tokens_of.get(key, 0), sum(self._tokens_of.values()) + self._announced
        if not total:
            return
        wait_s = self._wait_s(total + size)
        full = total + size > self.waiting_tokens or wait_s > self.wait_s
        greedy = own and (
            own + size > self.share_ratio * self.waiting_tokens
            or self._wait_s(own + size) > self.wait_s * self.share_ratio
        )
        if full or greedy:
            raise Busy(self._wait_s(total) or 1.0)

    def _wait_s(self, tokens: int) -> float:
        """Until so many waiting tokens are answered; 0 where that is not known."""
        batches, rest = divmod(tokens, self.tokens)
        if (last_s := self._pace.seconds(rest)) is None:
            return 0.0
        return max(0.0, self._free_s - time.monotonic()) + batches * (self._pace.seconds(self.tokens) or 0.0) + last_s

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (batch := self._take()):
                    if self._closed:
                        return
                    self._changed.wait(self._rest_s())
            took, started_s = sum(part.job.sizes[place] for part in batch for place in part.places), time.monotonic()
            self._free_s = started_s + (self._pace.seconds(took) or 0.0)
            _answer(batch)
            self._pace.note(took, time.monotonic() - started_s)

    def _rest_s(self) -> float | None:
        """Until the oldest rows have waited long enough for others; None where none wait."""
        since = [jobs[0].since_s for jobs in self._jobs.values()]
        return max(0.0, min(since) + self.hold_s - time.monotonic()) if since else None

    def _take(self) -> list[_Part]:
        """The next batch: rows of one kind of work, key by key in turn; nothing while rows wait for others."""
        self._clear()
        if not self._jobs or (sum(self._tokens_of.values()) < self.tokens and self._rest_s()):
            return []
        run, left = next(iter(self._jobs.values()))[0].run, self.tokens
        taken: dict[_Job, list[int]] = {}
        for job in self._turns(run):
            size = job.sizes[job.waiting[0]]
            if taken and size > left:
                break
            taken.setdefault(job, []).append(job.waiting.popleft())
            left -= size
            self._tokens_of[job.key] -= size
        self._jobs.move_to_end(next(iter(self._jobs)))
        self._clear()
        return [_Part(job, places) for job, places in taken.items()]

    def _turns(self, run: Run) -> Iterator[_Job]:
        """Jobs that have a row of such work, one of each key in turn, until all rows are taken."""
        queues = deque(deque(job for job in jobs if job.run == run) for jobs in self._jobs.values())
        while queues:
            jobs = queues.popleft()
            if jobs:
                yield jobs[0]
                if not jobs[0].waiting:
                    jobs.popleft()
                queues.append(jobs)

    def _clear(self) -> None:
        """Leave out what nobody waits for any more, and jobs that have no row left."""
        now_s = time.monotonic()
        for key in [*self._jobs]:
            for job in self._jobs[key]:
                if job.waiting and job.until_s < now_s:
                    job.fail(Late("the time of this request is over"))
                if job.future.done():
                    self._tokens_of[key] -= sum(job.sizes[place] for place in job.waiting)
                    job.waiting.clear()
            self._jobs[key] = deque(job for job in self._jobs[key] if job.waiting)
            if not self._jobs[key]:
                del self._jobs[key], self._tokens_of[key]


def _answer(batch: Sequence[_Part]) -> None:
    """Run a batch; where that fails, each job by itself, so that none suffers from the rows of another."""
    try:
        answers = iter(batch[0].job.run([part.job.rows[place] for part in batch for place in part.places]))
        for part in batch:
            part.job.tell(part.places, [next(answers) for _ in part.places])
    except Exception as error:  # it is told to whoever has asked
        if len(batch) == 1:
            batch[0].job.fail(error)
        else:
            for part in batch:
                _answer([part])
