"""The dialect of text-embeddings-inference: vectors, scores of labels, ranks, likeness, tokens."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from lathe import __version__
from lathe.core.runtime import cores
from lathe.serve.desk import Desk
from lathe.serve.dialects.common import VectorOptions, asked, likeness, relevance, scores_of, vectors
from lathe.serve.native import predicted
from lathe.serve.refusals import Problem
from lathe.serve.schema import AnyRow, Health, Object
from lathe.serve.served import Served
from lathe.serve.web import APIRouter, JSONResponse, Request

Text = Annotated[str, Field(min_length=1)]
Pair = Annotated[list[Text], Field(min_length=1, max_length=2)]


class EmbedBody(VectorOptions):
    inputs: Text | Annotated[list[Text], Field(min_length=1)] = Field(description="A text, or several.")


class PredictBody(Object):
    inputs: Text | Pair | Annotated[list[Pair], Field(min_length=1)] | None = Field(
        None, description="A text; two texts, which are a pair; or a list of lists of one text or two."
    )
    truncate: bool | None = None
    truncation_direction: str | None = Field(None, pattern="(?i)^right$")
    raw_scores: bool = False
    rows: Annotated[list[AnyRow], Field(min_length=1)] | None = Field(None, description="As at /v1/{task}.")

    @model_validator(mode="after")
    def _one(self) -> "PredictBody":
        if (self.inputs is None) == (self.rows is None):
            raise ValueError("give inputs, or rows")
        return self


class RerankBody(Object):
    query: Text
    texts: Annotated[list[Text], Field(min_length=1)]
    truncate: bool | None = None
    truncation_direction: str | None = Field(None, pattern="(?i)^right$")
    raw_scores: bool = False
    return_text: bool = False


class SentencesBody(Object):
    source_sentence: Text
    sentences: Annotated[list[Text], Field(min_length=1)]


class SimilarityParameters(Object):
    truncate: bool | None = None
    truncation_direction: str | None = Field(None, pattern="(?i)^right$")
    prompt_name: None = None


class SimilarityBody(Object):
    inputs: SentencesBody
    parameters: SimilarityParameters | None = None


class TokenizeBody(Object):
    inputs: Text | Annotated[list[Text], Field(min_length=1)]
    add_special_tokens: bool = True
    prompt_name: None = None


class ScoredLabel(Object):
    label: str
    score: float


class Rank(Object):
    index: int
    score: float
    text: str | None = None


class Token(Object):
    id: int
    text: str
    special: bool
    start: int | None = None
    stop: int | None = None


def routes(desk: Desk) -> APIRouter:
    router = APIRouter()
    _add_vectors(router, desk)
    _add_scores(router, desk)
    _add_about(router, desk)
    return router


def _add_vectors(router: APIRouter, desk: Desk) -> None:
    @router.post("/embed", response_model=list[list[float]])
    async def embed(request: Request, body: EmbedBody, model: str | None = None) -> JSONResponse:
        """The vector of each text."""
        served = desk.models.asked(model, ["embed"], "embed")
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        return _told(served, await vectors(desk, request, served, texts, body))

    @router.post("/similarity", response_model=list[float])
    async def similarity(request: Request, body: SimilarityBody, model: str | None = None) -> JSONResponse:
        """How alike each sentence is to the first."""
        served = desk.models.asked(model, ["embed", "score"], "similarity")
        asks, may_cut = body.inputs, body.parameters is None or body.parameters.truncate is not False
        return _told(served, await likeness(desk, request, served, asks.source_sentence, asks.sentences, may_cut))


def _add_scores(router: APIRouter, desk: Desk) -> None:
    @router.post("/predict", response_model=list[ScoredLabel] | list[list[ScoredLabel]] | dict[str, Any])
    async def predict(request: Request, body: PredictBody, model: str | None = None) -> JSONResponse:
        """Labels with their scores, the highest first: of one text or pair a list, of several a list for each."""
        if body.rows is not None:
            served = desk.models.asked(model, [], "") if model else only(desk)
            return await predicted(desk, request, served, body.rows)
        served = desk.models.asked(model, ["classify", "multilabel", "score", "intent"], "labels")
        if body.raw_scores:
            raise Problem(422, "raw_scores: this server tells probabilities alone; leave it out")
        several = isinstance(body.inputs, list) and isinstance(body.inputs[0], list)
        given: Sequence[Any] = body.inputs if several and body.inputs else [body.inputs]
        rows = [_row(one) for one in given]
        answers = await asked(desk, request, served, rows, may_cut=body.truncate is not False)
        told = [scores_of(one) for one in answers]
        return _told(served, told if several else told[0])

    @router.post("/rerank", response_model=list[Rank], response_model_exclude_none=True)
    async def rerank(request: Request, body: RerankBody, model: str | None = None) -> JSONResponse:
        """Texts in the order in which they answer a query; of a cross-encoder the sigmoid of its score."""
        served = desk.models.asked(model, ["rank", "embed"], "rerank")
        found = await relevance(desk, request, served, body.query, body.texts, body.truncate is not False)
        if "rank" in served.kinds and not body.raw_scores:
            found = [1 / (1 + math.exp(-score)) if score > -700 else 0.0 for score in found]
        order = sorted(range(len(found)), key=lambda place: -found[place])
        texts = [{"text": body.texts[place]} if body.return_text else {} for place in order]
        ranks = [{"index": place, "score": found[place], **text} for place, text in zip(order, texts, strict=True)]
        return _told(served, ranks)


def _add_about(router: APIRouter, desk: Desk) -> None:
    @router.post("/tokenize", response_model=list[list[Token]])
    async def tokenize(request: Request, body: TokenizeBody, model: str | None = None) -> JSONResponse:
        """The tokens of each text, and where they stand in it, in code points."""
        served = desk.models.named(model) if model else only(desk)
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        desk.check(texts)
        return _told(served, await desk.tokens(request, served, texts, body.add_special_tokens))

    @router.get("/info")
    async def info(model: str | None = None) -> dict[str, Any]:
        """What is served, and how much it takes."""
        return about(desk, desk.models.named(model) if model else only(desk))

    @router.get("/ping")
    async def ping() -> Health:
        """That the server lives."""
        return Health(status="ok")


def about(desk: Desk, served: Served) -> dict[str, Any]:
    kinds, labels = served.kinds, served.labels
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: place for place, label in enumerate(labels)}}
    pooling = getattr(served.task, "pooling", None)
    kind = {
        "embed": {"embedding": {"pooling": "last_token" if pooling == "last" else pooling}},
        "rank": {"reranker": {"id2label": {0: "score"}, "label2id": {"score": 0}}},
    }
    return {
        "model_id": served.name,
        "model_sha": served.version,
        "model_dtype": served.dtype,
        "model_type": kind.get(kinds[0], {"classifier": names} if labels else {kinds[0]: {}}),
        "tasks": kinds,
        "max_concurrent_requests": desk.limits.requests,
        "max_input_length": getattr(served.task, "max_length", None),
        "max_batch_tokens": desk.batcher(served).tokens,
        "max_batch_requests": None,
        "max_client_batch_size": desk.limits.rows,
        "tokenization_workers": cores(),
        "auto_truncate": True,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }


def only(desk: Desk) -> Served:
    """The one model that is served. Raises ``Problem`` where there are several."""
    if len(desk.models) > 1:
        raise Problem(422, f"several models are served; name one, with ?model=NAME: {', '.join(desk.models)}")
    return next(iter(desk.models.values()))


def _row(given: Any) -> dict[str, str]:
    texts = [given] if isinstance(given, str) else given
    return dict(zip(("text", "text_pair"), texts, strict=False))


def _told(served: Served, told: Any) -> JSONResponse:
    return JSONResponse(told, headers={"X-Model": served.title})
