"""Serving: one model behind HTTP on this machine, until SIGTERM or Ctrl-C."""

import errno
import ipaddress
import json
import socket
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle
from lathe.core.errors import LatheError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.runtime import Precision, stop_flag
from lathe.likelihood.fill import Fill
from lathe.likelihood.predictor import Weigh
from lathe.loader import asked_of, load
from lathe.serve.limits import About, Limits
from lathe.tasks import AnyTask

GRACE_S = 10
"""Seconds that requests under way may still take after the signal to stop."""


@recipe
class Recipe:
    bundle: Path
    """The model."""
    host: str = "127.0.0.1"
    """Address to listen on: one of this machine's own, since requests carry no key yet."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and says which."""
    limits: Limits = Limits()
    """How much one request may ask."""
    precision: Precision = "fp32"
    """Of matrix products, for a torch model."""


def run(recipe: Recipe) -> Told:
    """Serve until asked to stop; requests under way are answered first."""
    refuse_strangers(recipe.host)
    bundle = Bundle.open(recipe.bundle, kind="model")
    asked = asked_of(bundle)
    try:
        import uvicorn

        from lathe.serve.app import build_app
    except ModuleNotFoundError as error:
        raise LatheError(f"{error.name} is not installed; pip install 'lathe[serve]'") from None
    with _listening(recipe.host, recipe.port) as listener:
        about = About(bundle.name, asked.kind, tuple(asked.labels or ()), asked.unlabelled)
        app = build_app(load(recipe.bundle, recipe.precision), about, recipe.limits)
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S
        )
        address = _address(listener)
        say(f"{about.model} answers on {address}; Ctrl-C stops it. Try:\n  {_example(address, asked)}")
        with stop_flag():  # uvicorn raises the signal again when it is done; being asked to stop is no failure
            uvicorn.Server(config).run(sockets=[listener])
    return Told("", {"model": about.model, "address": address})


def refuse_strangers(host: str) -> None:
    """Without keys only this machine may ask."""
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    if not own:
        raise RecipeError(
            f"host: {host} can be reached from other machines, and requests carry no key yet; "
            "serve on 127.0.0.1, behind a proxy that asks who it is"
        )


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections already: a client that comes before the loop has started waits."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
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


def _example(address: str, asked: AnyTask | Fill | Weigh) -> str:
    text = f"a {asked.mask}" if isinstance(asked, Fill) else "a text"
    body = json.dumps({"rows": [text, {"text": text}]})
    return f"curl {address}/predict -H 'Content-Type: application/json' -d '{body}'"
