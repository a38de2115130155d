"""The dialect of OpenAI: vectors, texts that go on and conversations, whole or as they come."""

import base64
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from lathe.core.errors import RecipeError
from lathe.core.types import Encoded
from lathe.generation import Generated, Generation, Prompt, prompt_of
from lathe.serve.desk import Desk
from lathe.serve.dialects.common import VectorOptions, Writing, generation, one_stop, vectors
from lathe.serve.native import line_of, read_prompts
from lathe.serve.refusals import Problem
from lathe.serve.schema import Object, Off, One
from lathe.serve.served import GENERATE, Served
from lathe.serve.visit import visit_of
from lathe.serve.web import APIRouter, JSONResponse, Request, StreamingResponse

Text = Annotated[str, Field(min_length=1)]
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {}}}}}
ENDS = {"end": "stop", "stop": "stop", "length": "length"}


class EmbeddingsBody(Object):
    input: Text | Annotated[list[Text], Field(min_length=1)] | Annotated[list[int] | list[list[int]], Field()]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


class StreamOptions(Object):
    include_usage: bool = False


class WrittenBody(Writing):
    """What completions share. What this server does not do can only be said to be left out."""

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: One = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = None


class CompletionBody(WrittenBody):
    prompt: Text | Annotated[list[Text], Field(min_length=1)]
    logprobs: None = None
    best_of: One = None
    echo: Off = None
    suffix: None = None


class TextPart(Object):
    type: Literal["text"]
    text: str


class ChatMessage(Object):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]
    name: str | None = None
    tool_call_id: str | None = None


class ChatBody(WrittenBody):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: Off = None
    top_logprobs: None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    tool_prompt: None = None
    response_format: None = None


def routes(desk: Desk) -> APIRouter:
    router = APIRouter()
    _add_models(router, desk)
    _add_embeddings(router, desk)
    _add_written(router, desk)
    return router


def _add_models(router: APIRouter, desk: Desk) -> None:
    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Every model, what it answers, and its labels."""
        return {"object": "list", "data": [_about(served) for served in desk.models.values()]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        return _about(desk.models.named(name))


def _about(served: Served) -> dict[str, Any]:
    told = {"id": served.name, "object": "model", "created": served.made_s, "owned_by": "lathe"}
    return told | {"version": served.version, "tasks": served.kinds, "labels": served.labels}


def _add_embeddings(router: APIRouter, desk: Desk) -> None:
    @router.post("/v1/embeddings")
    async def embeddings(request: Request, body: EmbeddingsBody) -> JSONResponse:
        """The vector of each text."""
        served = desk.models.asked(body.model, ["embed"], "embed")
        given = [body.input] if isinstance(body.input, str) else body.input
        if any(not isinstance(one, str) for one in given):
            raise Problem(
                422, "input: send texts, not numbers of another tokenizer's tokens (check_embedding_ctx_length=False)"
            )
        texts = [one for one in given if isinstance(one, str)]
        options = VectorOptions.model_validate({"dimensions": body.dimensions})
        found = await vectors(desk, request, served, texts, options)
        form: Callable[[list[float]], Any] = _base64 if body.encoding_format == "base64" else list
        data = [{"object": "embedding", "index": n, "embedding": form(one)} for n, one in enumerate(found)]
        used = visit_of(request).tokens
        usage = {"prompt_tokens": used, "total_tokens": used}
        return JSONResponse({"object": "list", "data": data, "model": served.title, "usage": usage})


def _base64(values: list[float]) -> str:
    """As little-endian float32."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _add_written(router: APIRouter, desk: Desk) -> None:
    @router.post("/v1/completions", response_model=None, responses=STREAMED)
    async def completions(request: Request, body: CompletionBody) -> JSONResponse | StreamingResponse:
        """Go on from a text."""
        served = desk.models.asked(body.model, [GENERATE], GENERATE)
        texts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        desk.check(texts)
        base = Generation(max_new_tokens=min(16, desk.limits.new_tokens))
        options = generation(body, base, desk.limits, body.max_tokens, one_stop(body.stop), None)
        rows = [{"text": text} for text in texts]
        prompts = await desk.read(request, lambda rows: read_prompts(served, rows, options), rows)
        form = _Form(f"cmpl-{visit_of(request).id}", "text_completion", "text_completion", served.title)
        if not body.stream:
            answers = await desk.write(request, served, prompts, options)
            choices = [form.choice({"text": one.text}, one, place) for place, one in enumerate(answers)]
            return JSONResponse(form.told(choices, _usage(prompts, answers)))
        if len(prompts) > 1:
            raise Problem(422, "stream: one prompt at a time")
        stream = desk.stream(request, served, prompts[0], options)
        return _streamed(_events(form, stream, prompts[0], body, lambda piece: {"text": piece}, []))

    @router.post("/v1/chat/completions", response_model=None, responses=STREAMED)
    async def chat(request: Request, body: ChatBody) -> JSONResponse | StreamingResponse:
        """Answer a conversation."""
        name = None if body.model in (None, "dummy") and len(desk.models) == 1 else body.model
        return await conversed(desk, request, desk.models.asked(name, ["chat"], "chat"), body)

    @router.post("/models/{name}/v1/chat/completions", response_model=None, responses=STREAMED)
    async def chat_of(request: Request, name: str, body: ChatBody) -> JSONResponse | StreamingResponse:
        """The same of the model that the path names."""
        return await conversed(desk, request, desk.models.asked(name, ["chat"], "chat"), body)


async def conversed(desk: Desk, request: Request, served: Served, body: ChatBody) -> JSONResponse | StreamingResponse:
    """The assistant's next turn."""
    predictor: Any = served.predictor
    if served.generator is None:
        raise Problem(422, f"{served.title} does not write")
    stop, most = one_stop(body.stop), body.max_completion_tokens or body.max_tokens
    options = generation(body, predictor.task.generation, desk.limits, most, stop, None)
    row = {"messages": [{"role": one.role, "content": _content(one)} for one in body.messages]}
    try:
        asked = replace(predictor, task=replace(predictor.task, generation=options))
    except RecipeError:
        room = f"{served.title} takes {predictor.task.max_length:,} tokens in all"
        raise Problem(
            422, f"max_tokens: {options.max_new_tokens:,} leave no room for what is answered; {room}"
        ) from None
    encoded: list[Encoded] = await desk.encode(request, served, [row], asked)
    prompt = prompt_of(encoded[0]["input_ids"], served.generator, options)
    form = _Form(f"chatcmpl-{visit_of(request).id}", "chat.completion", "chat.completion.chunk", served.title)
    if body.stream:
        stream = _stripped(desk.stream(request, served, prompt, options))
        first = form.choice({"delta": {"role": "assistant", "content": ""}}, None)
        return _streamed(_events(form, stream, prompt, body, lambda piece: {"delta": {"content": piece}}, [first]))
    (answer,) = await desk.write(request, served, [prompt], options)
    choice = form.choice({"message": {"role": "assistant", "content": answer.text.strip()}}, answer)
    return JSONResponse(form.told([choice], _usage([prompt], [answer])))


def _content(message: ChatMessage) -> str:
    given = message.content
    return given if isinstance(given, str) else "".join(part.text for part in given)


class _Form:
    """What every object of an answer holds."""

    def __init__(self, name: str, whole: str, part: str, model: str) -> None:
        self.name, self.whole, self.part, self.model, self.now_s = name, whole, part, model, int(time.time())

    def told(self, choices: list[dict[str, Any]], usage: dict[str, int] | None, kind: str = "") -> dict[str, Any]:
        head = {"id": self.name, "object": kind or self.whole, "created": self.now_s, "model": self.model}
        return head | {"system_fingerprint": self.model, "choices": choices, "usage": usage}

    def choice(self, said: dict[str, Any], answer: Generated | None, place: int = 0) -> dict[str, Any]:
        end = None if answer is None else ENDS[answer.end]
        return {"index": place, **said, "logprobs": None, "finish_reason": end}


async def _events(
    form: _Form,
    stream: AsyncIterator[str | Generated],
    prompt: Prompt,
    body: WrittenBody,
    said: Callable[[str], dict[str, Any]],
    first: list[dict[str, Any]],
) -> AsyncIterator[bytes]:
    """The text as server-sent events; what goes wrong on the way is an event, too."""
    for choice in first:
        yield event(form.told([choice], None, form.part))
    try:
        async for piece in stream:
            if isinstance(piece, str):
                yield event(form.told([form.choice(said(piece), None)], None, form.part))
                continue
            last = said("") if not first else {"delta": {}}
            yield event(form.told([form.choice(last, piece)], None, form.part))
            if body.stream_options and body.stream_options.include_usage:
                yield event(form.told([], _usage([prompt], [piece]), form.part))
        yield b"data: [DONE]\n\n"
    except Problem as problem:
        yield event({"error": {"message": problem.message, "type": "unhealthy", "code": str(problem.status)}})


async def _stripped(stream: AsyncIterator[str | Generated]) -> AsyncIterator[str | Generated]:
    """The text without blanks at its beginning and its end."""
    held, begun = "", False
    async for piece in stream:
        if not isinstance(piece, str):
            yield piece
            return
        held += piece
        text = held.rstrip()
        if ready := text if begun else text.lstrip():
            yield ready
            begun, held = True, held[len(text) :]


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + line_of(value) + b"\n\n"


def _streamed(events: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream")


def _usage(prompts: list[Prompt], answers: list[Generated]) -> dict[str, int]:
    asked, written = sum(len(prompt.ids) for prompt in prompts), sum(answer.tokens for answer in answers)
    return {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}
