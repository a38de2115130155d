"""``/v1/feedback``: what people say of answers, kept until it is deleted."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from lathe.core.predictor import read_rows_like
from lathe.feedback.rows import check_correction, without_personal
from lathe.feedback.store import Record, Store, StoreError
from lathe.serve.desk import Desk
from lathe.serve.keeper import Keeper
from lathe.serve.refusals import Problem
from lathe.serve.schema import WIRES, Object, TextRow, row_of
from lathe.serve.visit import visit_of
from lathe.serve.web import APIRouter, JSONResponse, Request

DEEPEST = 32
"""Most lists and objects inside each other."""
_NAME = r"^[A-Za-z0-9._-]{1,64}$"
_TITLE = r"^[A-Za-z0-9._-]{1,64}(@[0-9a-f]{1,64})?$"

T = TypeVar("T")


class FeedbackQuestion(Object):
    id: str | None = Field(None, pattern=_NAME, description="Made by the client: what is sent again is kept once.")
    model: str = Field(pattern=_TITLE, description="Name and version of the model that answered.")
    task: str
    row: dict[str, Any] = Field(description="What was asked.")
    prediction: Any = None
    correction: dict[str, Any] | None = Field(None, description="What a labelled row has beside the row itself.")
    rating: Literal[1, -1] | None = None
    note: str | None = None
    request_id: str | None = Field(None, pattern=_NAME)


class FeedbackAnswer(Object):
    id: str
    stored: bool


class FeedbackRecord(FeedbackQuestion):
    id: str
    model: str
    by: str = Field(description="Name of the key that it came with.")
    at_s: float = Field(description="Seconds since 1970.")
    number: int


class FeedbackPage(Object):
    records: list[FeedbackRecord]
    next: int | None = Field(description="What the next page is asked with as `after`; null at the end.")


class FeedbackCount(Object):
    task: str
    model: str
    rating: int | None
    records: int


class FeedbackSummary(Object):
    counts: list[FeedbackCount]


class FeedbackDeleted(Object):
    id: str
    deleted: bool


def routes(desk: Desk, keeper: Keeper | None) -> APIRouter:
    router = APIRouter(prefix="/v1/feedback")

    @router.post("", response_model=FeedbackAnswer)
    async def give(request: Request, question: FeedbackQuestion) -> JSONResponse:
        """Keep what somebody says of an answer; it is on the disk when this is answered."""
        keeps, visit = _kept(keeper), visit_of(request)
        record = _record(desk, question, keeps, visit.key)
        visit.model = record.model
        await _keep(keeps, record, visit.left_s)
        return JSONResponse({"id": record.id, "stored": True})

    @router.get("", response_model=FeedbackPage)
    async def page(
        task: str | None = None, model: str | None = None, limit: int = 100, after: int = 0
    ) -> dict[str, Any]:
        """Records in the order in which they came; `after` is the `next` of the page before."""
        if not 1 <= limit <= 1000 or not 0 <= after < 1 << 62:
            raise Problem(422, "limit: 1 to 1000, and after: a number that a page told")
        records = await _ask(keeper, lambda store: store.page(task, model, after, limit))
        return {"records": [*map(vars, records)], "next": records[-1].number if len(records) == limit else None}

    @router.get("/summary", response_model=FeedbackSummary)
    async def summary() -> dict[str, Any]:
        """How many records there are of each task, model and rating."""
        return {"counts": await _ask(keeper, lambda store: store.summary())}

    @router.delete("/{id}", response_model=FeedbackDeleted)
    async def delete(id: str) -> dict[str, Any]:
        """Delete a record for good."""
        if not await _ask(keeper, lambda store: store.delete(id)):
            raise Problem(404, "no feedback of this id is kept")
        return {"id": id, "deleted": True}

    return router


def _kept(keeper: Keeper | None) -> Keeper:
    if keeper is None:
        raise Problem(404, "this server keeps no feedback; start it with feedback.store=FILE")
    return keeper


async def _ask(keeper: Keeper | None, work: Callable[[Store], T]) -> T:
    try:
        return await _kept(keeper).ask(work)
    except StoreError as error:
        raise Problem(503, str(error), 10.0) from None


async def _keep(keeper: Keeper, record: Record, left_s: float) -> None:
    """Returns when it is on the disk. Raises ``Problem``."""
    try:
        outcome = await asyncio.wait_for(asyncio.wrap_future(keeper.add(record)), left_s)
    except TimeoutError:
        raise Problem(503, "the store did not answer in time; send it again with the same id", 1.0) from None
    except StoreError as error:
        raise Problem(503, str(error), 10.0) from None
    if outcome == "other":
        raise Problem(409, "other feedback has this id; choose another")
    if outcome == "full":
        raise Problem(507, "the store is full (feedback.most_bytes); delete records, or let it be larger")


def _record(desk: Desk, question: FeedbackQuestion, keeper: Keeper, by: str) -> Record:
    """What is to be kept. Raises ``Problem``, ``DataError`` or ``RowError``."""
    if question.correction is None and question.rating is None and not question.note:
        raise Problem(422, "give a correction, a rating (1 or -1) or a note")
    said = {name: getattr(question, name) for name in ("row", "prediction", "correction", "note")}
    _refuse_deep(said)
    desk.check_text([*said.values()], "feedback")
    served = desk.models.named(question.model.partition("@")[0])  # its version may have been replaced meanwhile
    if question.task not in served.kinds:
        raise Problem(422, f"task: {served.title} answers by {' and '.join(served.kinds)}")
    try:
        TypeAdapter(row_of(question.task) if question.task in WIRES else TextRow).validate_python(question.row)
    except ValidationError:
        raise Problem(422, f"row: no row of {served.title}; see /openapi.json") from None
    if served.task is not None:
        list(read_rows_like([question.row], served.task.unlabelled))  # as it was read to be answered
    record = Record(
        id=question.id or secrets.token_hex(16),
        task=question.task,
        model=question.model if "@" in question.model else served.title,
        row=question.row,
        prediction=question.prediction,
        correction=question.correction,
        rating=question.rating,
        note=question.note,
        request_id=question.request_id,
        by=by,
        at_s=time.time(),
    )
    check_correction(served.task, record, keeper.options.new_labels)
    if keeper.options.redact:
        record = without_personal(record)
        check_correction(served.task, record, keeper.options.new_labels)
    try:
        _ = record.content
    except ValueError:
        raise Problem(422, "feedback: holds a number that is none; leave it out") from None
    return record


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    if level:
        raise Problem(422, f"feedback: at most {DEEPEST} lists and objects stand inside each other")
