"""The HTTP application: an ASGI app that knows one predictor and assumes nothing about the process it runs in.

What it refuses, it refuses before the model sees it: bodies, rows and texts that are too large, and everything that the
schema does not say. No text of a request comes back in an error, and none goes into a log.
"""

import asyncio
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as RoutingError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lathe import __version__
from lathe.core.errors import DataError
from lathe.core.predictions import Prediction
from lathe.core.report import say
from lathe.core.types import Predictor, Row
from lathe.serve.limits import About, Limits
from lathe.serve.schema import Answer, Health, Problem, Question

Answerer: TypeAlias = Callable[[Sequence[Row]], Awaitable[list[Prediction]]]
"""What stands between the requests and the predictor."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The body, a row, or their number is too large."},
    422: {"model": Problem, "description": "The request is not what the schema says."},
    "4XX": {"model": Problem},
}


def build_app(predictor: Predictor, about: About, limits: Limits | None = None) -> FastAPI:
    """``POST /predict``, ``GET /health`` and ``/openapi.json`` for one model.

    There is no page of documentation: it would fetch its scripts from elsewhere.
    """
    bounds, ask = limits or Limits(), one_at_a_time(predictor)
    app = FastAPI(title=f"Lathe: {about.model}", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, most=bounds.body_bytes)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RoutingError, _refused)
    app.add_exception_handler(DataError, _unreadable)
    app.add_exception_handler(Exception, _broken)

    @app.post("/predict", response_model=Answer, responses=_PROBLEMS)
    async def predict(question: Question) -> JSONResponse:
        """Answer each row."""
        rows = [_plain(row) for row in question.rows]
        check_rows(rows, bounds)
        refuse_unused(rows, about)
        predictions = await ask(rows)
        return JSONResponse({"model": about.model, "predictions": [one.to_json() for one in predictions]})

    @app.get("/health")
    async def health() -> Health:
        """That the server takes requests, and for which model."""
        return Health(status="ok", model=about.model, task=about.task, labels=list(about.labels))

    return app


def one_at_a_time(predictor: Predictor) -> Answerer:
    """Each request by itself, in a thread beside the event loop; a second one waits, since a model uses all cores."""
    turn = asyncio.Semaphore(1)

    async def answer(rows: Sequence[Row]) -> list[Prediction]:
        async with turn:
            return await run_in_threadpool(predictor, rows)

    return answer


def check_rows(rows: Sequence[Row], limits: Limits) -> None:
    """Refuse what is too large (413) or no Unicode text (422), before it is tokenized."""
    if len(rows) > limits.rows:
        raise HTTPException(413, f"{len(rows):,} rows; send at most {limits.rows:,} at a time")
    for number, row in enumerate(rows):
        text = _text_of(row)
        if len(text) > limits.characters:
            raise HTTPException(
                413, f"rows[{number}]: {len(text):,} characters; at most {limits.characters:,} are taken"
            )
        if _SURROGATE.search(text):
            raise HTTPException(422, f"rows[{number}]: holds half a surrogate pair; send the whole character")


def refuse_unused(rows: Sequence[Row], about: About) -> None:
    """Refuse (422) what the model would not look at, such as the second text of a pair."""
    roles = [role for shape in about.shapes for role in shape.roles]
    known = {name for role in roles for name in (role.name, *role.aliases)}
    for number, row in enumerate(rows):
        if known and (unused := sorted(row.keys() - known)):
            raise HTTPException(422, f"rows[{number}]: {about.task} of this model has no use for {', '.join(unused)}")


class BodyLimit:
    """ASGI middleware: a body of more than ``most`` bytes is refused as soon as that is known."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > self.most:
            await _problem(413, self._message())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, self._message())  # comes out where the application reads the body
            return message

        await self.app(scope, counted, send)

    def _message(self) -> str:
        return f"the body is too large; at most {self.most:,} bytes are taken"


def _text_of(row: Row) -> str:
    """All that a row says."""
    return " ".join(_strings(row))


def _strings(value: Any) -> Iterator[str]:
    """Every string in lists and objects of a row; a number says nothing."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner)


def _plain(row: str | BaseModel) -> Row:
    return {"text": row} if isinstance(row, str) else row.model_dump(exclude_none=True)


# ------------------------------------------------------------------------------------------------------------- errors
def _problem(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing that is wrong, without the value: it may be a text, or no valid JSON itself."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and media_type != "application/json":
        return _problem(415, "send the body as Content-Type: application/json")
    return _problem(422, _first(error.errors() if isinstance(error, RequestValidationError) else []))


def _first(errors: Sequence[Any]) -> str:
    """One line for the first place in a request that is wrong.

    >>> _first([{"type": "missing", "loc": ("body", "rows"), "msg": "Field required"}])
    'rows: Field required; send {"rows": ["a text", ...]}'
    """
    way = 'send {"rows": ["a text", ...]}'
    where = list(errors[0]["loc"][1:]) if errors else []
    if not where or errors[0]["type"] == "json_invalid":
        return f"the body is not such a JSON object; {way}"
    if where[0] == "rows" and len(where) > 1:
        row = '{"text": "..."}, with "text_pair" or "choices" where the model takes them, {"tokens": ["..."]},'
        row += ' {"context": "...", "question": "..."} or {"messages": [...]}'
        return f"rows[{where[1]}]: a row is a text, {row}"
    return f"{str(where[0])[:80]}: {errors[0]['msg']}; {way}"


async def _refused(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, RoutingError) else 400
    return _problem(status, str(getattr(error, "detail", "")) or "refused")


async def _unreadable(_: Request, error: Exception) -> JSONResponse:
    return _problem(422, str(error))


async def _broken(request: Request, error: Exception) -> JSONResponse:
    """A fault of our own: said by its place, since its message may hold a text."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    say(f"{request.method} {request.url.path}: {type(error).__name__} at {place.filename}:{place.lineno}")
    return _problem(500, "an internal error; the server's log names its place")
