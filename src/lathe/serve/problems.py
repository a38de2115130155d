"""Errors as JSON in the form of the dialect that was spoken; none repeats what a request holds."""

import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from lathe.core.data import RowError
from lathe.core.errors import DataError, RecipeError
from lathe.core.report import say
from lathe.serve.refusals import Problem
from lathe.serve.visit import visit_of
from lathe.serve.web import (
    ClientDisconnect,
    FastAPI,
    HTTPException,
    JSONResponse,
    Match,
    Request,
    RequestValidationError,
)

OPENAI = ("/v1/embeddings", "/v1/completions", "/v1/chat/completions", "/v1/models")
"""Where errors are objects, as the clients of OpenAI read them."""

_NAME = re.compile(r"[A-Za-z_]{1,40}|\d{1,9}")
_TYPES = {429: "overloaded", 503: "unhealthy", 500: "backend"}
_ROW = (
    'a row is a text, {"text": "..."}, with "text_pair" or "choices" where the model takes them, {"tokens": ["..."]}, '
    '{"context": "...", "question": "..."} or {"messages": [...]}'
)


def problem(path: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that tells what is wrong."""
    kind = _TYPES.get(status, "validation")
    if path.startswith(OPENAI) or path.endswith(OPENAI[2]):
        told: dict[str, Any] = {"error": {"message": message, "type": kind, "param": None, "code": str(status)}}
    else:
        told = {"error": message, "error_type": kind}
    return JSONResponse(told, status, dict(headers or {}))


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Problem, _told)
    app.add_exception_handler(ClientDisconnect, _left)
    for kind in (DataError, RecipeError, RowError):
        app.add_exception_handler(kind, _unreadable)
    app.add_exception_handler(Exception, _broken)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing that is wrong, without the value: it may be a text, or no valid JSON itself."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and media_type != "application/json":
        return problem(request.url.path, 415, "send the body as Content-Type: application/json")
    return problem(request.url.path, 422, first(error.errors() if isinstance(error, RequestValidationError) else []))


def first(errors: Sequence[Any]) -> str:
    """One line for the first place in a request that is wrong.

    >>> first([{"type": "missing", "loc": ("body", "rows"), "msg": "Field required"}])
    'rows: Field required; see /openapi.json'
    """
    where = [*map(shown, errors[0]["loc"][1:])] if errors else []
    if not where or errors[0]["type"] == "json_invalid":
        return "the body is no JSON object of this kind; see /openapi.json"
    if where[0] == "rows" and len(where) > 1:
        return f"rows[{where[1]}]: {_ROW}"
    return f"{where[0]}: {errors[0]['msg']}; see /openapi.json"


def shown(name: Any) -> str:
    """A name in a request, unless it may be a text.

    >>> shown("top_k"), shown("anna@example.org")
    ('top_k', 'a name that nobody knows')
    """
    return str(name) if _NAME.fullmatch(str(name)) else "a name that nobody knows"


async def _refused(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return problem(request.url.path, 400, "refused")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return problem(request.url.path, error.status_code, str(error.detail) or "refused", headers)


def _methods(request: Request) -> list[str]:
    """Those that are answered at the path of a request."""
    ways = [route for route in request.app.state.routes if route.matches(request.scope)[0] != Match.NONE]
    return sorted({method for route in ways for method in route.methods})


async def _told(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Problem):
        raise error
    answer = problem(request.url.path, error.status, error.message, error.headers)
    if error.lasts is not None:
        request.scope["guard"].shut(request.url.path, error.lasts, answer)
    return answer


async def _left(request: Request, _: Exception) -> JSONResponse:
    return problem(request.url.path, 499, "the client left before its body had come")


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RowError):
        return problem(request.url.path, 422, f"{error.field}: {error.reason}; {error.fix}")
    return problem(request.url.path, 422, str(error))


async def _broken(request: Request, error: Exception) -> JSONResponse:
    """A fault of our own: said by its place and its route, since a message or a path may hold a text."""
    place, route = traceback.extract_tb(error.__traceback__)[-1], getattr(request.scope.get("route"), "path", "")
    who = f"{visit_of(request).id} {request.method} {route}"
    say(f"{who}: {type(error).__name__} at {place.filename}:{place.lineno}")
    return problem(request.url.path, 500, "an internal error; the server's log names its place")
