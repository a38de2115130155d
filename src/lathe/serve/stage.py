"""Serving: models behind HTTP, until SIGTERM or Ctrl-C."""

import errno
import json
import socket
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.errors import LatheError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.runtime import Precision
from lathe.likelihood.fill import Fill
from lathe.serve.keys import Keys, is_own
from lathe.serve.limits import Limits
from lathe.serve.served import Models, Served, names_of, open_models


@recipe
class Recipe:
    bundle: tuple[str, ...] = Field(min_length=1)
    """The models: folders, each served under its own name, or NAME=FOLDER."""
    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs keys."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and says which."""
    hosts: tuple[str, ...] = ()
    """Names by which clients may call this server, beside those of this machine alone."""
    keys: Path | None = None
    """A file with a name and a key a line; who sends none of them (Authorization: Bearer KEY) is refused."""
    drain_s: float = Field(0.5, ge=0)
    """After the signal to stop, seconds in which new requests are still answered, while /ready says no."""
    log: bool = True
    """Whether each request is noted on standard error: a line of JSON, without its texts."""
    limits: Limits = Limits()
    """How much requests may ask."""
    precision: Precision = "fp32"
    """Of matrix products, for a torch model."""


def run(recipe: Recipe) -> Told:
    """Serve until asked to stop; requests under way are answered first."""
    keys = Keys.read(recipe.keys) if recipe.keys else Keys()
    if not keys:
        refuse_strangers(recipe.host)
    folders = names_of(recipe.bundle)
    try:
        from lathe.serve.app import build_app
        from lathe.serve.server import serve
    except ModuleNotFoundError as error:
        raise LatheError(f"{error.name} is not installed; pip install 'lathe[serve]'") from None
    with _listening(recipe.host, recipe.port) as listener:
        models = open_models(folders, recipe.precision)
        names = frozenset(name.lower() for name in (*recipe.hosts, recipe.host))
        address = _address(listener)
        say(f"{_titles(models)} on {address}; Ctrl-C stops it. Try:\n  {_example(address, models)}")
        serve(build_app(models, recipe.limits, keys, names, recipe.log), listener, recipe.drain_s)
    return Told("", {"models": [model.title for model in models.values()], "address": address})


def refuse_strangers(host: str) -> None:
    """Without keys only this machine may ask."""
    if not is_own(host):
        raise RecipeError(
            f"host: {host} can be reached from other machines; give keys=FILE, with a name and a key a line, or serve "
            "on 127.0.0.1"
        )


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections already: a client that comes before the loop has started waits."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise RecipeError(f"port: {port} is in use on {host}; choose another (port=0 takes a free one)") from None
        raise RecipeError(f"host: cannot listen on {host}:{port} ({error.strerror})") from None
    return listener


def _address(listener: socket.socket) -> str:
    name: Any = listener.getsockname()
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"


def _titles(models: Models) -> str:
    return ", ".join(model.title for model in models.values()) + (" answer" if len(models) > 1 else " answers")


def _example(address: str, models: Models) -> str:
    served = next(iter(models.values()))
    kind, row = _asked(served)
    body = json.dumps({"model": served.name, "rows": [row]} if len(models) > 1 else {"rows": [row]})
    return f"curl {address}/v1/{kind} -H 'Content-Type: application/json' -d '{body}'"


def _asked(served: Served) -> tuple[str, Any]:
    """What a model can be asked first, and a row of it."""
    task = getattr(served.predictor, "task", None)
    if isinstance(task, Fill):
        return task.kind, f"a {task.mask}"
    kind = served.kinds[0]
    rows = {
        "choose": {"text": "a text", "choices": ["one", "other"]},
        "answer": {"context": "a text that says it", "question": "what?"},
        "rank": {"query": "a text", "candidates": ["one", "other"]},
        "recommend": {"history": ["an item"]},
    }
    pair = {"text": "a text", "text_pair": "another"} if getattr(task, "pair", False) else "a text"
    return kind, rows.get(kind, pair)
