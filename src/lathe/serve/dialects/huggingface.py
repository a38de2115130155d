"""The dialect of Hugging Face's inference: one address for every task, which is that of the model behind it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from lathe.core.predictions import Answer, Fillings, Frame, Label, Prediction, Span, Spans, Text
from lathe.generation import Generated, Generation
from lathe.serve.desk import Desk
from lathe.serve.dialects.common import (
    answer_of,
    asked,
    generation,
    likeness,
    one_stop,
    scores_of,
    vectors,
)
from lathe.serve.dialects.openai import STREAMED, event
from lathe.serve.dialects.parameters import (
    Answered,
    Body,
    Classified,
    Filled,
    Nothing,
    TokenClassified,
    Transformed,
    Written,
    Zero,
)
from lathe.serve.dialects.tei import SentencesBody, about, only
from lathe.serve.native import read_prompts
from lathe.serve.problems import shown
from lathe.serve.refusals import Problem
from lathe.serve.schema import ContextRow, PairRow
from lathe.serve.served import Served
from lathe.serve.web import APIRouter, JSONResponse, Request, StreamingResponse

ENTAILED = ("entail", "蕴含")
"""How the label begins by which a model of pairs says that the second text follows from the first."""
FILLED = 5  # pieces told for each mask
WRITTEN = 100  # tokens of an answer, where a client says nothing


class Asked:
    """One request of this dialect to one model."""

    def __init__(self, desk: Desk, request: Request, served: Served, body: Body) -> None:
        self.desk, self.request, self.served, self.body = desk, request, served, body
        self.parameters = body.parameters

    def options(self, schema: type[BaseModel]) -> Any:
        """The parameters. Raises ``Problem`` naming the first that is wrong."""
        try:
            return schema.model_validate(self.parameters)
        except ValidationError as error:
            wrong = error.errors(include_input=False, include_url=False)[0]
            name = ".".join(map(shown, wrong["loc"]))
            raise Problem(422, f"parameters.{name}: {wrong['msg']}; it can be left out") from None

    def texts(self) -> list[str]:
        given = self.body.inputs
        if isinstance(given, BaseModel):
            raise Problem(422, f"inputs: {self.served.title} takes a text, or a list of texts")
        return [given] if isinstance(given, str) else given

    async def predict(self, predictor: Any = None) -> list[Prediction]:
        """The answers to the texts, or to the one pair."""
        pair = self.body.inputs
        if isinstance(pair, PairRow):
            return await asked(self.desk, self.request, self.served, [pair.model_dump()], predictor)
        rows = [{"text": text} for text in self.texts()]
        return await asked(self.desk, self.request, self.served, rows, predictor)

    def told(self, each: Sequence[Any]) -> Any:
        """Of a text its answer, of a list a list."""
        return [*each] if isinstance(self.body.inputs, list) else each[0]


Handler: TypeAlias = Callable[[Asked], Awaitable[Any]]


async def _classified(ask: Asked) -> Any:
    options: Classified = ask.options(Classified)
    own = "sigmoid" if "multilabel" in ask.served.kinds else "softmax"
    if options.function_to_apply not in (None, own):
        raise Problem(422, f"parameters.function_to_apply: scores of {ask.served.title} are by {own}; leave it out")
    return [scores_of(one)[: options.top_k] for one in await ask.predict()]  # nested, of one text, too


async def _tagged(ask: Asked) -> Any:
    options: TokenClassified = ask.options(TokenClassified)
    ignored = frozenset(options.ignore_labels)
    found = [one.spans if isinstance(one, Frame) else one for one in await ask.predict()]
    each = [
        [_entity(span, text) for span in one.spans if span.label not in ignored]
        for text, one in zip(ask.texts(), found, strict=True)
        if isinstance(one, Spans)
    ]
    return ask.told(each)


def _entity(span: Span, text: str) -> dict[str, Any]:
    place = {"start": span.start, "end": span.end}
    return {"entity_group": span.label, "score": span.score, "word": text[span.start : span.end]} | place


async def _answered(ask: Asked) -> Any:
    if not isinstance(ask.body.inputs, ContextRow):
        raise Problem(422, 'inputs: send {"question": "...", "context": "..."}')
    options: Answered = ask.options(Answered)
    task = ask.served.task
    changes: dict[str, Any] = {"top_k": options.top_k or 1, "n_best_size": max(task.n_best_size, options.top_k or 1)}
    if options.max_answer_len:
        changes["max_answer_length"] = options.max_answer_len
    if options.handle_impossible_answer is not None:
        known = 0.0 if task.null_score_diff_threshold is None else task.null_score_diff_threshold
        changes["null_score_diff_threshold"] = known if options.handle_impossible_answer else None
    predictor = _changed(ask.served, **changes) if ask.parameters else None
    rows = [ask.body.inputs.model_dump()]
    (best,) = await asked(ask.desk, ask.request, ask.served, rows, predictor)
    if not isinstance(best, Answer):
        raise Problem(422, f"{ask.served.title} answers no questions")
    told = [answer_of(one) for one in (best, *best.others)]
    return told if (options.top_k or 1) > 1 else told[0]


async def _embedded(ask: Asked) -> Any:
    ask.options(Nothing)
    return await vectors(ask.desk, ask.request, ask.served, ask.texts(), ask.body)


async def _similar(ask: Asked) -> Any:
    if not isinstance(ask.body.inputs, SentencesBody):
        raise Problem(422, 'inputs: send {"source_sentence": "...", "sentences": ["..."]}')
    ask.options(Nothing)
    given = ask.body.inputs
    return await likeness(ask.desk, ask.request, ask.served, given.source_sentence, given.sentences)


async def _zero_shot(ask: Asked) -> Any:
    """Of each label how likely it is that it follows from the text, by a model of entailment.

    Several labels: P(entailment) / (P(entailment) + P(contradiction)) of each. One: the entailments in relation to
    each other.
    """
    options: Zero = ask.options(Zero)
    names = [label for label in ask.served.labels if label.lower().startswith(ENTAILED)]
    against = [label for label in ask.served.labels if label.lower().startswith(("contra", "not_entail", "矛盾"))]
    if not names or "classify" not in ask.served.kinds:
        raise Problem(422, f"{ask.served.title} knows no entailment, which other labels than its own are told by")
    if options.hypothesis_template.count("{}") != 1:
        raise Problem(422, "parameters.hypothesis_template: write {} where the label is to stand")
    text, *more = ask.texts()
    if more:
        raise Problem(422, "inputs: one text at a time")
    labels = [*dict.fromkeys(options.candidate_labels)]
    ask.desk.check(labels)
    ask.desk.check_text(options.hypothesis_template, "parameters.hypothesis_template")
    pairs = [{"text": text, "text_pair": options.hypothesis_template.replace("{}", label)} for label in labels]
    answers = await asked(ask.desk, ask.request, ask.served, pairs)
    scores = [one.scores for one in answers if isinstance(one, Label)]
    found = [one[names[0]] for one in scores]
    if options.multi_label:
        other = [one[against[0]] if against else 1 - one[names[0]] for one in scores]
        found = [yes / (yes + no) if yes + no else 0.0 for yes, no in zip(found, other, strict=True)]
    else:
        found = [yes / sum(found) if sum(found) else 1 / len(found) for yes in found]
    order = sorted(zip(labels, found, strict=True), key=lambda one: -one[1])
    return [{"label": label, "score": score} for label, score in order]


async def _transformed(ask: Asked) -> Any:
    options: Transformed = ask.options(Transformed)
    said = options.generate_parameters or options
    task, generator = ask.served.task, ask.served.generator
    if generator is None:
        raise Problem(422, f"{ask.served.title} does not write")
    own = generation(said, task.generation, ask.desk.limits, said.max_new_tokens, (), said.do_sample)
    predictor = None if own == task.generation else _writing(ask.served, own)
    rows, may_cut = [{"text": text} for text in ask.texts()], options.truncation != "do_not_truncate"
    answers = await asked(ask.desk, ask.request, ask.served, rows, predictor, may_cut)
    texts = [one.text for one in answers if isinstance(one, Text)]
    return [{"summary_text": text, "translation_text": text, "generated_text": text} for text in texts]


async def _filled(ask: Asked) -> Any:
    options: Filled = ask.options(Filled)
    served, size = ask.served, len(ask.served.tokenizer)
    wanted = size if options.targets else options.top_k or FILLED
    predictor = _changed(served, top_k=min(wanted, size))
    found = []
    for text, one in zip(ask.texts(), await ask.predict(predictor), strict=True):
        masks = one.fillings if isinstance(one, Fillings) else ()
        told = [_fillings(text, mask, served.task.mask, options, len(masks) == 1) for mask in masks]
        found.append(told[0] if len(told) == 1 else told)
    return ask.told(found)


def _fillings(text: str, mask: Sequence[Any], name: str, options: Filled, alone: bool) -> list[dict[str, Any]]:
    targets = {target.strip() for target in options.targets or ()}
    kept = [one for one in mask if not targets or one.text.strip() in targets][: options.top_k or len(mask)]
    if targets and not kept:
        raise Problem(422, "parameters.targets: none of them is a piece of this model's vocabulary")
    return [
        {"score": one.score, "token": one.token, "token_str": one.text,
         "sequence": text.replace(name, one.text.strip(), 1) if alone else text}
        for one in kept
    ]  # fmt: skip


async def _written(ask: Asked) -> Any:
    options: Written = ask.options(Written)
    if options.typical_p not in (None, 1) and options.do_sample is not False:
        raise Problem(422, "parameters.typical_p: tokens are drawn by temperature, top_k and top_p alone; leave it out")
    served = ask.served
    stop = (*one_stop(options.stop), *one_stop(options.stop_sequences))
    base = Generation(max_new_tokens=min(WRITTEN, ask.desk.limits.new_tokens))
    own = generation(options, base, ask.desk.limits, options.max_new_tokens, stop, options.do_sample)
    texts = ask.texts()
    ask.desk.check(texts)
    rows = [{"text": text} for text in texts]
    prompts = await ask.desk.read(ask.request, lambda rows: read_prompts(served, rows, own), rows)
    before = texts if options.return_full_text else [""] * len(texts)
    if ask.body.stream:
        if len(prompts) > 1:
            raise Problem(422, "stream: one text at a time")
        events = _events(ask.desk.stream(ask.request, served, prompts[0], own), before[0], options.seed)
        return StreamingResponse(events, media_type="text/event-stream")
    answers = await ask.desk.write(ask.request, served, prompts, own)
    told: list[dict[str, Any]] = [
        {"generated_text": start + one.text} for start, one in zip(before, answers, strict=True)
    ]
    if options.details:
        told = [one | {"details": _details(answer, options.seed)} for one, answer in zip(told, answers, strict=True)]
    return told


async def _events(stream: AsyncIterator[str | Generated], before: str, seed: int | None) -> AsyncIterator[bytes]:
    """Each piece of the text as a token; a piece may be several, whose numbers are not told."""
    place = 0
    try:
        async for piece in stream:
            said, place = piece if isinstance(piece, str) else "", place + 1
            token = {"id": None, "text": said, "logprob": None, "special": not said}
            told: dict[str, Any] = {"index": place, "token": token, "generated_text": None, "details": None}
            if isinstance(piece, Generated):
                told |= {"generated_text": before + piece.text, "details": _details(piece, seed)}
            yield event(told)
    except Problem as problem:
        yield event({"error": problem.message, "error_type": "overloaded" if problem.status == 429 else "unhealthy"})


def _details(answer: Generated, seed: int | None) -> dict[str, Any]:
    reason = {"end": "eos_token", "stop": "stop_sequence", "length": "length"}[answer.end]
    return {"finish_reason": reason, "generated_tokens": answer.tokens, "seed": seed, "prefill": [], "tokens": []}


_OF_TASK: dict[str, Handler] = {
    "classify": _classified,
    "multilabel": _classified,
    "score": _classified,
    "intent": _classified,
    "tag": _tagged,
    "answer": _answered,
    "embed": _embedded,
    "transform": _transformed,
    "fill": _filled,
    "generate": _written,
}
_NAMED: dict[str, Handler] = {
    "text-classification": _classified,
    "token-classification": _tagged,
    "question-answering": _answered,
    "feature-extraction": _embedded,
    "sentence-similarity": _similar,
    "zero-shot-classification": _zero_shot,
    "summarization": _transformed,
    "translation": _transformed,
    "fill-mask": _filled,
    "text-generation": _written,
}
_CAN: dict[Handler, tuple[str, ...]] = {
    _classified: ("classify", "multilabel", "score", "intent"),
    _tagged: ("tag", "intent"),
    _answered: ("answer",),
    _embedded: ("embed",),
    _similar: ("embed", "score"),
    _zero_shot: ("classify",),
    _transformed: ("transform",),
    _filled: ("fill",),
    _written: ("generate",),
}


def routes(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.post("/", response_model=None, responses=STREAMED)
    async def root(request: Request, body: Body, model: str | None = None) -> Any:
        """Ask the one model that is served, in the form of its task."""
        return await answered(desk, request, desk.models.named(model) if model else only(desk), body, None)

    @router.post("/models/{name}", response_model=None, responses=STREAMED)
    async def named(request: Request, name: str, body: Body) -> Any:
        """Ask a model, in the form of its task."""
        return await answered(desk, request, desk.models.named(name), body, None)

    @router.post("/models/{name}/pipeline/{task}", response_model=None, responses=STREAMED)
    async def pipeline(request: Request, name: str, task: str, body: Body) -> Any:
        """Ask a model, in the form of a task that it can do."""
        return await answered(desk, request, desk.models.named(name), body, task)

    @router.get("/models/{name}/info")
    async def info(name: str) -> dict[str, Any]:
        return about(desk, desk.models.named(name))

    @router.get("/models/{name}/health")
    async def health(name: str) -> dict[str, str]:
        return {"status": "ok", "model": desk.models.named(name).title}

    return router


async def answered(desk: Desk, request: Request, served: Served, body: Body, task: str | None) -> Any:
    """By the task that the path names, else by the form of the request, else by the model's own task."""
    if task is not None and task not in _NAMED:
        raise Problem(404, f"no such task; there are {', '.join(_NAMED)}")
    handler = _NAMED[task] if task is not None else _meant(served, body)
    if handler is None or not set(_CAN[handler]) & set(served.kinds):
        ways = " and ".join(f"/v1/{kind}" for kind in served.kinds)
        raise Problem(422, f"{served.title} cannot be asked so; ask it at {ways}")
    told = await handler(Asked(desk, request, served, body))
    return told if isinstance(told, StreamingResponse) else JSONResponse(told, headers={"X-Model": served.title})


def _meant(served: Served, body: Body) -> Handler | None:
    if isinstance(body.inputs, ContextRow):
        return _answered
    if isinstance(body.inputs, SentencesBody):
        return _similar
    if "candidate_labels" in body.parameters:
        return _zero_shot
    return next((_OF_TASK[kind] for kind in served.kinds if kind in _OF_TASK), None)


def _changed(served: Served, **changes: Any) -> Any:
    """The predictor with other options of its task."""
    predictor: Any = served.predictor
    return replace(predictor, task=replace(predictor.task, **changes))


def _writing(served: Served, options: Generation) -> Any:
    predictor: Any = served.predictor
    forward = replace(predictor.forward, options=options)
    return replace(predictor, task=replace(predictor.task, generation=options), forward=forward)
