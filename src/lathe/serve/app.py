"""The HTTP application: every dialect over the same models; it assumes nothing about the process it runs in.

What it refuses, it refuses before a model sees it: bodies, rows and texts that are too large, and everything that the
schema does not say. No text of a request comes back in an error, and none goes into a log. There is no page of
documentation: it would fetch its scripts from elsewhere.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lathe import __version__
from lathe.serve import native, page
from lathe.serve.desk import Desk
from lathe.serve.dialects import huggingface, openai, tei
from lathe.serve.guard import Guard
from lathe.serve.keys import Keys
from lathe.serve.limits import Limits
from lathe.serve.problems import add_handlers
from lathe.serve.schema import ProblemAnswer
from lathe.serve.served import Models
from lathe.serve.web import FastAPI

NO_LIMITS_OF_ITS_OWN = Limits()

_PROBLEMS = {
    401: "No key, or none that is known.",
    404: "No such model, or none that answers this.",
    413: "The body, a row, or their number is too large.",
    422: "The request is not what the schema says.",
    429: "Too much waits already; the header Retry-After says when to ask again.",
    503: "The time of the request was over, or the server ends.",
}


def build_app(
    models: Models,
    limits: Limits = NO_LIMITS_OF_ITS_OWN,
    keys: Keys | None = None,
    hosts: frozenset[str] = frozenset(),
    writes_log: bool = True,
) -> Guard:
    """Everything that ``models`` answer, in every dialect, behind a guard."""
    keys = keys or Keys()
    desk = Desk(models, limits, has_keys=bool(keys))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title=f"Lathe: {', '.join(model.title for model in models.values())}",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={status: {"model": ProblemAnswer, "description": told} for status, told in _PROBLEMS.items()},
    )
    add_handlers(app)
    for dialect in (page, native, openai, tei, huggingface):
        app.include_router(dialect.routes(desk))
    return Guard(app, limits, keys, hosts, writes_log=writes_log)
