"""Serving: models behind HTTP, until SIGTERM or Ctrl-C."""

import errno
import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path

from pydantic import Field

from lathe.core.errors import LatheError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.runtime import Precision
from lathe.serve.example import example
from lathe.serve.keeping import Keeping
from lathe.serve.keys import Keys, is_own
from lathe.serve.limits import Limits
from lathe.serve.served import Models, names_of, open_models, titles_of
from lathe.serve.workers import Workers


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
    workers: int = Field(1, ge=1, le=256)
    """Processes that answer, each with the models in memory and its share of the cores, of the limits and of the rows
    a minute that a key may ask."""
    log: bool = True
    """Whether each request is noted on standard error: a line of JSON, without its texts."""
    limits: Limits = Limits()
    """How much requests may ask."""
    feedback: Keeping = Keeping()
    """What is kept of what people say of answers."""
    precision: Precision = "fp32"
    """Of matrix products, for a torch model."""


def run(recipe: Recipe) -> Told:
    """Serve until asked to stop; requests under way are answered first."""
    if not recipe.keys:
        refuse_strangers(recipe.host)
    titles = titles_of(names_of(recipe.bundle))
    try:
        import_module("lathe.serve.server")
    except ModuleNotFoundError as error:
        raise LatheError(f"{error.name} is not installed; pip install 'lathe[serve]'") from None
    with ExitStack() as stack:
        listeners = [stack.enter_context(_listening(recipe.host, recipe.port, recipe.workers > 1))]
        port = listeners[0].getsockname()[1]
        listeners += [stack.enter_context(_listening(recipe.host, port, True)) for _ in range(recipe.workers - 1)]
        if recipe.workers == 1:
            _answer(recipe, listeners, 0)
        else:
            Workers(recipe.workers, partial(_answer, recipe, listeners), stack.close).run()
    return Told("", {"models": titles, "address": _address(recipe.host, port)})


def _answer(recipe: Recipe, listeners: Sequence[socket.socket], place: int) -> None:
    """What one process does, with a listener of its own."""
    from lathe.serve.app import build_app
    from lathe.serve.keeper import Keeper
    from lathe.serve.refresh import Refresh, warm
    from lathe.serve.server import serve

    keys = Keys.read(recipe.keys) if recipe.keys else Keys()
    names = frozenset(name.lower() for name in (*recipe.hosts, recipe.host))
    folders = names_of(recipe.bundle)
    keeper = Keeper(recipe.feedback) if recipe.feedback.store is not None else None
    models = open_models(folders, recipe.precision)
    for served in models.values():
        warm(served)
    if place == 0:
        address = _address(recipe.host, listeners[0].getsockname()[1])
        say(f"{_titles(models)} on {address}; Ctrl-C stops it. Try:\n  {_example(address, models)}")
    app = build_app(models, recipe.limits, keys, names, recipe.log, keeper)
    serve(app, listeners[place], recipe.drain_s, Refresh(models, folders, recipe.precision))


def refuse_strangers(host: str) -> None:
    """Without keys only this machine may ask."""
    if not is_own(host):
        raise RecipeError(
            f"host: {host} can be reached from other machines; give keys=FILE, with a name and a key a line, or serve "
            "on 127.0.0.1"
        )


def _listening(host: str, port: int, shared: bool) -> socket.socket:
    """A socket that takes connections already: a client that comes before the loop has started waits.

    Where it is shared, several listen at one address, and each gets its part of the connections.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise RecipeError(f"port: {port} is in use on {host}; choose another (port=0 takes a free one)") from None
        raise RecipeError(f"host: cannot listen on {host}:{port} ({error.strerror})") from None
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _titles(models: Models) -> str:
    return ", ".join(model.title for model in models.values()) + (" answer" if len(models) > 1 else " answers")


def _example(address: str, models: Models) -> str:
    served = next(iter(models.values()))
    kind, row = example(served)
    body = json.dumps({"model": served.name, "rows": [row]} if len(models) > 1 else {"rows": [row]})
    return f"curl {address}/v1/{kind} -H 'Content-Type: application/json' -d '{body}'"
