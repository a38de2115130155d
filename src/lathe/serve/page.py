"""The page of a server, and what it tells of models and of traffic: no text of anybody's stands in any of it."""

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from pathlib import PurePosixPath
from typing import NamedTuple

from lathe import __version__
from lathe.core.bundle import Ancestor
from lathe.core.card import figures
from lathe.serve.desk import Desk
from lathe.serve.served import GENERATE, Served
from lathe.serve.told import About, ModelAbout, ModelTraffic, Parent, Second, Traffic
from lathe.serve.web import APIRouter, Request, Response

NAMES = (
    *("index.html", "page.css", "main.js", "api.js", "dom.js", "strings.js", "examples.js", "text.js", "form.js"),
    *("show.js", "try.js", "correct.js", "chat.js", "figures.js"),
)
"""The files of the page; no other is ever opened."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
SHOWN_LABELS = 2000


class _File(NamedTuple):
    content: bytes
    media_type: str
    tag: str

    @classmethod
    def read(cls, name: str) -> "_File":
        content = files("lathe.serve").joinpath("static", name).read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        return cls(content, f"{_TYPES[PurePosixPath(name).suffix]}; charset=utf-8", tag)


def routes(desk: Desk) -> APIRouter:
    """The page at ``/``, its files below ``/page``, and what they ask."""
    router = APIRouter()
    for name in NAMES:
        path = "/" if name == "index.html" else f"/page/{name}"
        router.add_api_route(path, _sent(_File.read(name)), methods=["GET", "HEAD"], include_in_schema=False)
    _add_told(router, desk)
    return router


def _sent(file: _File) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        headers = {"content-security-policy": POLICY, "cache-control": "no-cache", "etag": file.tag}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.media_type)

    return send


def _add_told(router: APIRouter, desk: Desk) -> None:
    @router.get("/v1/about")
    async def about(request: Request) -> About:
        """What is served, and how good each model was found to be."""
        limits = desk.limits
        return About(
            version=__version__,
            feedback=request.app.state.keeps_feedback,
            rows=limits.rows,
            characters=limits.characters,
            new_tokens=limits.new_tokens,
            models=[_told(served) for served in desk.models.values()],
        )

    @router.get("/v1/traffic")
    async def traffic(request: Request) -> Traffic:
        """The last two minutes of this process: requests that ask models, by the second."""
        meters = request.scope["guard"].meters
        of_models = [
            ModelTraffic(
                model=served.title,
                waiting_tokens=desk.batcher(served).waiting,
                **meters.recent.of(served.title)._asdict(),
            )
            for served in desk.models.values()
        ]
        whole = meters.recent.of(None)
        return Traffic(
            window_s=meters.recent.window_s,
            in_flight=meters.in_flight,
            seconds=[Second(ago_s=ago_s, statuses=statuses) for ago_s, statuses in meters.recent.seconds()],
            models=of_models,
            **whole._asdict(),
        )


def _told(served: Served) -> ModelAbout:
    bundle, task = served.bundle, served.task
    made = bundle.manifest if bundle else None
    forms = [[role.name for role in shape.roles] for shape in getattr(task, "unlabelled", ())]
    return ModelAbout(
        name=served.name,
        version=served.version,
        tasks=list(served.kinds),
        labels=list(served.labels[:SHOWN_LABELS]),
        rows=forms or [["text"]],
        mask=getattr(task, "mask", None),
        writes=served.generator is not None or GENERATE in served.kinds,
        digest=bundle.digest if bundle else None,
        stage=made.stage if made else None,
        runtime=made.runtime.kind if made and made.runtime else None,
        precision=made.runtime.precision if made and made.runtime else None,
        size_bytes=bundle.size_bytes if bundle else None,
        scores=_scores(made.scores) if made else {},
        parents=[*_ancestors(made.parents)] if made else [],
    )


def _scores(scores: object) -> dict[str, float]:
    found = figures(scores) if isinstance(scores, dict) else ()
    return {one.name: one.value for one in found if math.isfinite(one.value)}


def _ancestors(parents: tuple[Ancestor, ...]) -> Iterator[Parent]:
    """Nearest first; of their paths the last name alone."""
    for parent in parents:
        name = PurePosixPath(parent.path).name
        yield Parent(name=name, digest=parent.sha256, stage=parent.stage, scores=_scores(parent.scores))
        yield from _ancestors(parent.parents)
