"""Our own routes: ``/v1/{task}`` for every task, rows in and predictions out, by the request or by the line."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from lathe.core.data import RowError
from lathe.core.errors import DataError
from lathe.core.types import Row
from lathe.generation import Generation, Generator, Greedy, Prompt, beams_of
from lathe.serve.desk import Desk, refuse_unused
from lathe.serve.limits import Limits
from lathe.serve.meters import MEDIA_TYPE
from lathe.serve.refusals import Problem
from lathe.serve.schema import (
    WIRES,
    GenerateAnswer,
    GenerateOptions,
    GenerateQuestion,
    Health,
    answer_of,
    question_of,
    row_of,
)
from lathe.serve.served import GENERATE, Answers, Served
from lathe.serve.web import APIRouter, JSONResponse, PlainTextResponse, Request, StreamingResponse

NDJSON = "application/x-ndjson"
_BREAKS = re.compile("[\x85\u2028\u2029]")
BULK_ROWS = 64  # read, answered and sent together


def routes(desk: Desk) -> APIRouter:
    """Those of every task, of life and of figures."""
    router = APIRouter()
    for kind in WIRES:
        _add_task(router, desk, kind)
    _add_generate(router, desk)
    _add_state(router, desk)
    return router


def _add_task(router: APIRouter, desk: Desk, kind: str) -> None:
    async def answer(request: Request, question: Any) -> JSONResponse:
        """Answer each row."""
        served = desk.models.asked(question.model, [kind], kind)
        return await predicted(desk, request, served, question.rows, answering(served, question.confidence))

    async def bulk(request: Request, model: str | None = None, confidence: bool = False) -> StreamingResponse:
        """Answer a row a line: a line for each, with its `prediction` or its `error`."""
        served = desk.models.asked(model, [kind], kind)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != NDJSON:
            raise Problem(415, f"send the body as Content-Type: {NDJSON}")
        able = answering(served, confidence)
        lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
        if not lines:
            raise Problem(422, "the body holds no rows; send one a line")
        return StreamingResponse(_bulk(desk, request, served, kind, lines, able), media_type=NDJSON)

    answer.__annotations__["question"] = question_of(kind)
    router.post(f"/v1/{kind}", response_model=answer_of(kind), name=f"{kind}")(answer)
    body = {"content": {NDJSON: {"schema": {"description": "A row as JSON on each line."}}}}
    told = {200: {"content": {NDJSON: {"schema": {"description": "On each line a prediction, or an error."}}}}}
    router.post(
        f"/v1/{kind}/bulk",
        name=f"{kind} in bulk",
        response_class=StreamingResponse,
        openapi_extra={"requestBody": body | {"required": True}},
        responses=told,  # type: ignore[arg-type]
    )(bulk)


def answering(served: Served, confidence: bool) -> Answers | None:
    """What answers; None for the model as it is. Raises ``RecipeError`` where a confidence is not known."""
    return served.confident if confidence else None


async def predicted(
    desk: Desk, request: Request, served: Served, given: Sequence[str | BaseModel], able: Answers | None = None
) -> JSONResponse:
    rows = [plain(row) for row in given]
    predictions = await desk.predict(request, served, rows, able)
    return JSONResponse({"model": served.title, "predictions": [one.to_json() for one in predictions]})


def plain(row: str | BaseModel) -> Row:
    return {"text": row} if isinstance(row, str) else row.model_dump(exclude_none=True)


# --------------------------------------------------------------------------------------------------------------- bulk
async def _bulk(
    desk: Desk, request: Request, served: Served, kind: str, lines: Sequence[bytes], able: Answers | None
) -> AsyncIterator[bytes]:
    """The lines of the answer, some at a time. A bad row spoils no other."""
    reads = TypeAdapter(row_of(kind))
    for start in range(0, len(lines), BULK_ROWS):
        told = [_read_line(line, reads, desk, served) for line in lines[start : start + BULK_ROWS]]
        good = [place for place, one in enumerate(told) if "error" not in one]
        for place, answer in zip(good, await _each(desk, request, served, [told[i] for i in good], able), strict=True):
            told[place] = answer
        for number, one in enumerate(told, start + 1):
            head = {"line": number} if "error" in one else {"model": served.title}
            yield line_of(head | one) + b"\n"


def line_of(value: Any) -> bytes:
    """JSON without U+0085, U+2028 and U+2029, at which readers of lines break one; JSON escapes the others itself.

    >>> line_of({"影片": "\\u2028"})[-9:]
    b'"\\\\u2028"}'
    """
    told = json.dumps(value, ensure_ascii=False)
    return _BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", told).encode()


def _read_line(line: bytes, reads: TypeAdapter[Any], desk: Desk, served: Served) -> dict[str, Any]:
    """A row, or what is wrong with it under ``error``."""
    try:
        row = plain(reads.validate_json(line))
        desk.check([row])
        refuse_unused([row], served)
        return dict(row)
    except ValidationError:
        return {"error": f"no row of {served.title}; see /openapi.json"}
    except Problem as problem:
        return {"error": problem.message}


async def _each(
    desk: Desk, request: Request, served: Served, rows: Sequence[Row], able: Answers | None
) -> list[dict[str, Any]]:
    """The answers to rows; where they cannot be read together, each by itself."""
    try:
        return [{"prediction": one.to_json()} for one in await desk.predict(request, served, rows, able)]
    except DataError as error:
        if len(rows) == 1:
            return [{"error": str(error).removeprefix("row 0: ")}]
        return [(await _each(desk, request, served, [row], able))[0] for row in rows]
    except Problem as problem:
        return [{"error": problem.message}] * len(rows)


# -------------------------------------------------------------------------------------------------------- generation
def _add_generate(router: APIRouter, desk: Desk) -> None:
    @router.post("/v1/generate", response_model=GenerateAnswer)
    async def generate(request: Request, question: GenerateQuestion) -> JSONResponse:
        """Go on from each text."""
        served = desk.models.asked(question.model, [GENERATE], GENERATE)
        rows = [plain(row) for row in question.rows]
        desk.check(rows)
        options = generation_of(question, desk.limits)
        prompts = await desk.read(request, lambda rows: read_prompts(served, rows, options), rows)
        answers = await desk.write(request, served, prompts, options)
        return JSONResponse({"model": served.title, "predictions": [one._asdict() for one in answers]})


def generation_of(given: GenerateOptions, limits: Limits) -> Generation:
    return refuse_long(
        Generation(
            decoding=given.decoding or Greedy(),
            max_new_tokens=given.max_new_tokens,
            repetition_penalty=given.repetition_penalty,
            no_repeat_ngram_size=given.no_repeat_ngram_size,
            stop=tuple(given.stop),
        ),
        limits,
    )


def refuse_long(options: Generation, limits: Limits) -> Generation:
    """The same options. Raises ``Problem`` where more is to be written than a request may ask."""
    if options.max_new_tokens > limits.new_tokens:
        raise Problem(422, f"max_new_tokens: {options.max_new_tokens:,}; at most {limits.new_tokens:,} are written")
    if beams_of(options) > limits.beams:
        raise Problem(
            422, f"decoding.num_beams: {beams_of(options):,}; at most {limits.beams:,} are searched at a time"
        )
    return options


def read_prompts(served: Served, rows: Sequence[Row], options: Generation) -> list[Prompt]:
    """As a call of the generator with these texts reads them. Raises ``Problem``."""
    if served.generator is None:
        raise Problem(422, f"{served.title} does not write")
    generator: Generator = served.generator
    seen: Counter[str] = Counter()
    found = []
    for number, row in enumerate(rows):
        try:
            with served.lock:
                found.append(generator.read(row["text"], options, seen))
        except RowError as error:
            raise Problem(422, f"rows[{number}]: the text {error.reason}; {error.fix}") from None
    return found


# -------------------------------------------------------------------------------------------------------------- state
def _add_state(router: APIRouter, desk: Desk) -> None:
    @router.get("/health")
    @router.head("/health")
    async def health() -> Health:
        """That the server lives."""
        return Health(status="ok")

    @router.get("/ready")
    async def ready(request: Request) -> Health:
        """That it takes requests: not while it ends."""
        if request.scope["guard"].draining:
            raise Problem(503, "the server is ending", 1.0)
        return Health(status="ready")

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> PlainTextResponse:
        """Counts and times for Prometheus."""
        guard = request.scope["guard"]
        served = desk.models.values()
        gauges = {
            "lathe_requests_in_flight": {(): guard.meters.in_flight},
            "lathe_requests_refused_unseen": {(): guard.gate.refused},
            "lathe_waiting_tokens": {(("model", one.title),): desk.batcher(one).waiting for one in served},
            **({"lathe_statistics_dropped": {(): keeper.dropped}} if (keeper := request.scope["guard"].keeper) else {}),
            "lathe_model_info": {(("model", one.title), ("task", " ".join(one.kinds))): 1 for one in served},
        }
        return PlainTextResponse(guard.meters.text(gauges), media_type=MEDIA_TYPE)
