"""The HTTP application: every dialect over the same models; it assumes nothing about the process it runs in.

What it refuses, it refuses before a model sees it: bodies, rows and texts that are too large, and everything that the
schema does not say. No text of a request comes back in an error, and none goes into a log. There is no page of
documentation: it would fetch its scripts from elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lathe import __version__
from lathe.serve import feedback, native, page
from lathe.serve.desk import Desk
from lathe.serve.dialects import huggingface, openai, tei
from lathe.serve.guard import Guard
from lathe.serve.keeper import Keeper
from lathe.serve.keys import Keys
from lathe.serve.limits import Limits
from lathe.serve.problems import add_handlers
from lathe.serve.schema import ProblemAnswer
from lathe.serve.served import Models
from lathe.serve.web import FastAPI, Route

NO_LIMITS_OF_ITS_OWN = Limits()

_PROBLEMS = {
    400: "The body is no JSON that can be read.",
    401: "No key, or none that is known.",
    404: "No such model, or none that answers this.",
    408: "The body did not arrive in time.",
    409: "Other feedback has this id.",
    413: "The body, a row, or their number is too large.",
    415: "The body is said to be something else than it must be.",
    421: "The request calls this server by a name that is not its own.",
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
    keeper: Keeper | None = None,
) -> Guard:
    """Everything that ``models`` answer, in every dialect, behind a guard."""
    keys = keys or Keys()
    desk = Desk(models, limits, has_keys=bool(keys))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()
        if keeper is not None:
            await asyncio.to_thread(keeper.close)

    app = FastAPI(
        title=f"Lathe: {', '.join(model.title for model in models.values())}",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={status: {"model": ProblemAnswer, "description": told} for status, told in _PROBLEMS.items()},
    )
    add_handlers(app)
    app.state.routes = [route for route in app.routes if isinstance(route, Route)]  # what is included is no list
    app.state.keeps_feedback = keeper is not None
    told = [dialect.routes(desk) for dialect in (page, native, openai, tei, huggingface)]
    for router in (*told, feedback.routes(desk, keeper)):
        app.include_router(router)
        app.state.routes += router.routes
    return Guard(app, limits, keys, hosts, writes_log=writes_log, keeper=keeper)
