"""Between requests and models: what is too much is refused, the rest waits for its turn and for no longer than it may.

Nothing here holds up the event loop: rows are tokenized in threads beside it, models run in threads of their own.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from lathe.core.batching import Batcher, Busy, Late, Run
from lathe.core.predictions import Prediction
from lathe.core.runtime import cores
from lathe.core.types import Encoded, Row
from lathe.generation import Generated, Generation, Generator, Prompt, beams_of
from lathe.serve.beside import Beside
from lathe.serve.limits import Limits
from lathe.serve.refusals import Problem
from lathe.serve.served import Answers, Models, Served
from lathe.serve.visit import Visit, visit_of
from lathe.serve.web import Request

T = TypeVar("T")

_UNFIT = re.compile("[\0\ud800-\udfff]")  # NUL, which ends a text elsewhere; halves of a pair are no characters
UNWATCHED_S = 0.05
"""So long a request waits before anybody looks whether its client has left."""
CHARACTERS = 4
"""So many are taken for a token of a text that is still to be read."""
_KEY_SHARE = 0.5  # of the queue, where there are several keys


@dataclass
class _Allowance:
    """Rows that a key may still ask: they come back by the second, up to those of a minute."""

    rows: float
    at_s: float


class Desk:
    """What every dialect asks its models through."""

    def __init__(self, models: Models, limits: Limits, has_keys: bool = False) -> None:
        self.models, self.limits = models, limits
        self._share_ratio = _KEY_SHARE if has_keys else 1.0
        self._batchers: dict[str, Batcher] = {}  # by title: one of each model, and of those that have been replaced
        self._ends: dict[str, asyncio.TimerHandle] = {}  # of these
        self._changes = models.changes
        self._readers = Beside(cores(), "reading")
        self._allowances: dict[str, _Allowance] = {}

    def close(self) -> None:
        self._readers.close()
        for batcher in self._batchers.values():
            batcher.close()

    def batcher(self, served: Served) -> Batcher:
        """Where the rows of a model wait."""
        if self._changes != self.models.changes:
            self._changes = self.models.changes
            self._retire()
        if served.title not in self._batchers:
            limits = self.limits
            self._batchers[served.title] = Batcher(
                _tokens_of(served), limits.waiting_tokens, self._share_ratio, wait_s=limits.wait_s
            )
        return self._batchers[served.title]

    def _retire(self) -> None:
        """Let the batchers of models that have been replaced end when the last request to them must have ended."""
        titles = {model.title for model in self.models.values()}
        for title in self._ends.keys() & titles:
            self._ends.pop(title).cancel()
        for title in self._batchers.keys() - titles - self._ends.keys():
            loop = asyncio.get_running_loop()
            self._ends[title] = loop.call_later(self.limits.answer_s + 1, self._end, title)

    def _end(self, title: str) -> None:
        del self._ends[title]
        self._readers.call(self._batchers.pop(title).close)  # it waits for the batch that runs

    async def predict(
        self, request: Request, served: Served, rows: Sequence[Row], predictor: Answers | None = None
    ) -> list[Prediction]:
        """The answer to each row; ``predictor`` is the model's own, or one like it with other options."""
        visit, able = visit_of(request), _able(served, predictor)
        self._admit(visit, served, rows)
        batcher = self.batcher(served)

        withdraw = batcher.announce(sum(map(len, strings(rows))) // CHARACTERS + len(rows))

        def asked() -> Future[list[Any]]:
            encoded = able.encode(rows)
            withdraw()
            return self._submit(visit, served, batcher, able.predict, encoded, able.sizes(encoded))

        try:
            return await _in_time(request, self._readers.call(asked))
        finally:
            withdraw()

    async def encode(
        self, request: Request, served: Served, rows: Sequence[Row], predictor: Answers | None = None
    ) -> list[Encoded]:
        """Rows as the model reads them, if they are not too much."""
        self._admit(visit_of(request), served, rows)
        return await self.read(request, _able(served, predictor).encode, rows)

    async def answer(
        self, request: Request, served: Served, encoded: Sequence[Encoded], predictor: Answers | None = None
    ) -> list[Prediction]:
        """The answers to rows that were read."""
        able = _able(served, predictor)
        return await self.run(request, served, able.predict, encoded, able.sizes(encoded))

    async def tokens(
        self, request: Request, served: Served, texts: Sequence[str], add_special_tokens: bool
    ) -> list[list[dict[str, Any]]]:
        """Of each text its tokens; what stands in it is text: the name of a special token, too."""
        tokenizer = served.tokenizer
        if tokenizer is None:
            raise Problem(422, f"{served.title} has no tokenizer of its own")
        backend = tokenizer.backend_tokenizer

        def read(texts: Sequence[str]) -> list[list[dict[str, Any]]]:
            with served.lock:
                backend.no_truncation()
                backend.no_padding()
                backend.encode_special_tokens = True
                return [_tokens(one) for one in backend.encode_batch([*texts], add_special_tokens=add_special_tokens)]

        return await self.read(request, read, texts)

    async def write(
        self, request: Request, served: Served, prompts: Sequence[Prompt], options: Generation
    ) -> list[Generated]:
        """What the model writes after each prompt."""
        run = _Writing(_generator(served), options)
        self._allow(visit_of(request), served, len(prompts))
        return await self.run(request, served, run, prompts, [_size(prompt, options) for prompt in prompts])

    def stream(
        self, request: Request, served: Served, prompt: Prompt, options: Generation
    ) -> AsyncIterator[str | Generated]:
        """The text as it comes, and the whole at the end; a full queue is refused here, before anything is sent."""
        visit = visit_of(request)
        self._allow(visit, served, 1)
        stream = _Stream(_generator(served), options)
        future = self._submit(visit, served, self.batcher(served), stream, [prompt], [_size(prompt, options)])
        return stream.told(future, visit)

    async def read(self, request: Request, read: Callable[[Any], T], rows: Any) -> T:
        """Call what tokenizes, beside the event loop. What it raises is the client's: a row that cannot be read."""
        return await _in_time(request, self._readers.call(lambda: read(rows)))

    async def run(
        self, request: Request, served: Served, run: Run, rows: Sequence[Any], sizes: Sequence[int]
    ) -> list[Any]:
        """Wait for the answers; whoever leaves, or waits too long, leaves the queue."""
        future = self._submit(visit_of(request), served, self.batcher(served), run, rows, sizes)
        return await _in_time(request, asyncio.wrap_future(future))

    def check(self, rows: Sequence[Any]) -> None:
        """Refuse what is too large (413) or no Unicode text (422), before it is tokenized."""
        if len(rows) > self.limits.rows:
            raise Problem(413, f"{len(rows):,} rows; send at most {self.limits.rows:,} at a time")
        for number, row in enumerate(rows):
            self.check_text(row, f"rows[{number}]")
        if (size := sum(map(_read_size, rows))) > self.limits.body_bytes:
            most = f"at most {self.limits.body_bytes:,} are read"
            raise Problem(413, f"a tokenizer would read {size:,} characters, a text again beside each other; {most}")

    def check_text(self, value: Any, where: str) -> None:
        texts = [*strings(value)]
        size = sum(map(len, texts)) + max(0, len(texts) - 1)
        if size > self.limits.characters:
            raise Problem(413, f"{where}: {size:,} characters; at most {self.limits.characters:,} are taken")
        if found := next(filter(None, map(_UNFIT.search, texts)), None):
            what = (
                "a NUL character; delete it" if found[0] == "\0" else "half a surrogate pair; send the whole character"
            )
            raise Problem(422, f"{where}: holds {what}")

    def _admit(self, visit: Visit, served: Served, rows: Sequence[Row]) -> None:
        """Refuse what is too much, or nothing that the model reads, before it is tokenized."""
        self.check(rows)
        refuse_unused(rows, served)
        visit.model, batcher = served.title, self.batcher(served)
        self._not_busy(batcher, visit, 1, lambda: batcher.refuse_busy(visit.key, 1))
        self._allow(visit, served, len(rows))

    def _submit(
        self, visit: Visit, served: Served, batcher: Batcher, run: Run, rows: Sequence[Any], sizes: Sequence[int]
    ) -> "Future[list[Any]]":
        """Let rows wait for their turn."""
        visit.model = served.title
        if sum(sizes) > self.limits.tokens:
            most = f"at most {self.limits.tokens:,} are read and written for one request"
            raise Problem(413, f"{sum(sizes):,} tokens, windows of long texts and pairs included; {most}")
        size = sum(sizes)
        future = self._not_busy(batcher, visit, size, lambda: batcher.submit(run, rows, sizes, visit.key, visit.left_s))
        visit.rows, visit.tokens = visit.rows + len(rows), visit.tokens + sum(sizes)
        return future

    def _not_busy(self, batcher: Batcher, visit: Visit, size: int, wait: Callable[[], T]) -> T:
        """Raises ``Problem`` (429) where the queue has no room for so many tokens."""
        try:
            return wait()
        except Busy as busy:
            is_only_one = len(self.models) == 1  # else what others ask may be for a model whose queue is empty
            lasts = partial(batcher.is_full, visit.key, size) if is_only_one else None
            raise Problem(429, str(busy), busy.retry_s, lasts) from None

    def _allow(self, visit: Visit, served: Served, rows: int) -> None:
        """Refuse (429) what is above the rate that a key may ask."""
        most = self.limits.key_rows_per_minute
        if most is None:
            return
        now_s = time.monotonic()
        held = self._allowances.setdefault(visit.key, _Allowance(most, now_s))
        held.rows, held.at_s = min(most, held.rows + (now_s - held.at_s) * most / 60), now_s
        if rows > held.rows:
            way = "ask again later" if rows <= most else "send fewer at a time"
            raise Problem(429, f"this key may ask {most:,} rows a minute; {way}", (rows - held.rows) * 60 / most)
        held.rows -= rows


@dataclass(frozen=True)
class _Writing:
    """Prompts in, answers out: requests with the same options are answered together."""

    generator: Generator
    options: Generation

    def __call__(self, prompts: Sequence[Any]) -> Sequence[Generated]:
        return self.generator.answer(prompts, self.options)


class _Left(Exception):  # noqa: N818 (raised through the model that writes, to end it)
    """Nobody reads any more."""


class _Stream:
    """One prompt in, its answer out, and its text piece by piece to the event loop."""

    def __init__(self, generator: Generator, options: Generation) -> None:
        self.generator, self.options = generator, options
        self.loop, self.pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        self.is_read = True

    def __call__(self, prompts: Sequence[Any]) -> Sequence[Generated]:
        return self.generator.answer(prompts, self.options, self._write)

    async def told(self, future: "Future[list[Any]]", visit: Visit) -> AsyncIterator[str | Generated]:
        """Raises ``Problem`` where the time is over before the text is."""
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(lambda _: self.pieces.put_nowait(None))
        try:
            async with asyncio.timeout(visit.left_s):
                while (piece := await self.pieces.get()) is not None:
                    yield piece
                yield answer.result()[0]
        except (TimeoutError, Late):
            raise Problem(503, "the time of this request is over", 1.0) from None
        finally:
            self.is_read = False
            answer.cancel()

    def _write(self, piece: str) -> None:
        if not self.is_read:
            raise _Left
        self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


async def _in_time(request: Request, answer: "asyncio.Future[T]") -> T:
    """What comes, unless the client leaves first, or its time is over."""
    try:
        await asyncio.wait([answer], timeout=min(visit_of(request).left_s, UNWATCHED_S))
        if not answer.done():
            await _come_or_gone(request, answer)
        return answer.result()
    except Late:
        raise Problem(503, "the time of this request is over; ask for less, or again", 1.0) from None
    except asyncio.CancelledError:
        if answer.cancelled():
            raise Problem(503, "the server is ending; ask again", 1.0) from None
        raise
    finally:
        answer.cancel()


async def _come_or_gone(request: Request, answer: "asyncio.Future[T]") -> None:
    """Wait for an answer. Raises ``Late``, or ``Problem`` where the client has left."""
    gone = asyncio.ensure_future(_gone(request))
    waits: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(waits, timeout=visit_of(request).left_s, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Problem(499, "the client left") if gone.done() else Late
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def strings(value: Any) -> Iterator[str]:
    """Every string in lists and objects of a row; a number says nothing."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from strings(inner)


def _read_size(row: Any) -> int:
    """Characters that a tokenizer reads: a text is read with each of its choices, and for each pair of entities.

    >>> _read_size({"query": "four", "candidates": ["a", "b", "c"]})
    15
    """
    if not isinstance(row, Mapping):
        return sum(map(len, strings(row)))
    beside = row.get("choices") or row.get("candidates") or ()
    entities = len(row.get("spans") or ())
    own = sum(map(len, beside))
    text = sum(map(len, strings(row))) - own
    return own + text * max(1, len(beside), entities * (entities - 1))


def refuse_unused(rows: Sequence[Row], served: Served) -> None:
    """Refuse (422) what the model would not look at, such as the second text of a pair."""
    shapes = served.predictor.task.unlabelled if served.predictor else ()
    known = {name for shape in shapes for role in shape.roles for name in (role.name, *role.aliases)}
    for number, row in enumerate(rows):
        if known and (unused := sorted(row.keys() - known)):
            raise Problem(422, f"rows[{number}]: {served.title} has no use for {', '.join(unused)}")


def _able(served: Served, predictor: Answers | None) -> Answers:
    if found := predictor or served.predictor:
        return found
    raise Problem(422, f"{served.title} only writes; ask it at /v1/generate")


def _tokens(encoding: Any) -> list[dict[str, Any]]:
    columns = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
    return [
        {"id": number, "text": text, "special": bool(special)} | ({} if special else {"start": start, "stop": stop})
        for number, text, special, (start, stop) in columns
    ]


def _generator(served: Served) -> Generator:
    if served.generator is None:
        raise Problem(422, f"{served.title} does not write")
    return served.generator


def _size(prompt: Prompt, options: Generation) -> int:
    return (len(prompt.ids) + prompt.room) * beams_of(options)


def _tokens_of(served: Served) -> int:
    return int(getattr(served.predictor, "tokens_per_batch", 8192))
