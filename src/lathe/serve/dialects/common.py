"""What dialects share: vectors, likeness, ranks and scores of labels, and how clients say how text is made."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field

from lathe.core.predictions import Answer, Frame, Label, Labels, Number, Prediction, Ranking, Vector
from lathe.core.types import Row
from lathe.generation import LEAST_TEMPERATURE, AnyDecoding, Generation, Greedy, Sample
from lathe.serve.desk import Desk
from lathe.serve.limits import Limits
from lathe.serve.native import refuse_long
from lathe.serve.refusals import Problem
from lathe.serve.schema import Object
from lathe.serve.served import Answers, Served
from lathe.serve.web import Request


class VectorOptions(Object):
    """How clients want their vectors; what a model cannot do is refused."""

    normalize: bool | None = Field(None, description="Vectors are of length 1; others are not given.")
    truncate: bool | None = Field(None, description="Whether a long text may be cut off; it may if not given.")
    truncation_direction: str | None = Field(None, pattern="(?i)^right$")
    prompt_name: None = None
    dimensions: int | None = Field(None, ge=1, description="Only so many numbers of each, again of length 1.")


async def vectors(
    desk: Desk, request: Request, served: Served, texts: Sequence[str], options: VectorOptions
) -> list[list[float]]:
    """Of each text, as its model gives it."""
    if options.normalize is False:
        raise Problem(422, "normalize: this server gives vectors of length 1 alone; leave it out")
    rows = [{"text": text} for text in texts]
    answers = await asked(desk, request, served, rows, may_cut=options.truncate is not False)
    found = [list(one.values) for one in answers if isinstance(one, Vector)]
    if options.dimensions is None or not found:
        return found
    if options.dimensions > len(found[0]):
        raise Problem(422, f"dimensions: {options.dimensions}; vectors of {served.title} have {len(found[0])}")
    shorter = torch.tensor(found, dtype=torch.float64)[:, : options.dimensions]
    return list(torch.nn.functional.normalize(shorter, dim=1).tolist())


async def likeness(
    desk: Desk, request: Request, served: Served, text: str, others: Sequence[str], may_cut: bool = True
) -> list[float]:
    """How alike others are to a text: by its vectors, or as a model of pairs says."""
    if "embed" in served.kinds:
        answers = await asked(desk, request, served, [{"text": one} for one in (text, *others)], may_cut=may_cut)
        found = torch.tensor([one.values for one in answers if isinstance(one, Vector)])  # [1 + others, D]
        return list((found[1:] @ found[0]).tolist())
    rows = [{"text": text, "text_pair": other} for other in others]
    answers = await asked(desk, request, served, rows, may_cut=may_cut)
    return [one.value for one in answers if isinstance(one, Number)]


async def relevance(
    desk: Desk, request: Request, served: Served, query: str, texts: Sequence[str], may_cut: bool
) -> list[float]:
    """The score of each text for a query, each as if it were the only one."""
    if "embed" in served.kinds:
        return await likeness(desk, request, served, query, texts, may_cut)
    rows = [{"query": query, "candidates": [text]} for text in texts]
    answers = await asked(desk, request, served, rows, may_cut=may_cut)
    return [one.scores[0] for one in answers if isinstance(one, Ranking)]


async def asked(
    desk: Desk,
    request: Request,
    served: Served,
    rows: Sequence[Row],
    predictor: Answers | None = None,
    may_cut: bool = True,
) -> list[Prediction]:
    """The answer to each row; where texts may not be cut, one that is too long is refused."""
    predictor = predictor or served.predictor
    encoded = await desk.encode(request, served, rows, predictor)
    if not may_cut and (long := next((n for n, row in enumerate(encoded) if row.get("truncated")), None)) is not None:
        raise Problem(422, f"inputs[{long}]: {encoded[long]['truncated']:,} tokens too long; truncate=true cuts it off")
    return await desk.answer(request, served, encoded, predictor)


def scores_of(prediction: Prediction) -> list[dict[str, Any]]:
    """Labels with their probabilities, the highest first; a number under a name of its own."""
    if isinstance(prediction, Frame):
        return scores_of(prediction.label)
    if isinstance(prediction, Number):
        return [{"label": "score", "score": prediction.value}]
    if not isinstance(prediction, Label | Labels):
        raise Problem(422, "this model gives no labels")
    found = sorted(prediction.scores.items(), key=lambda one: -one[1])
    return [{"label": label, "score": score} for label, score in found]


def answer_of(found: Answer) -> dict[str, Any]:
    """As question answering of transformers has it: places are 0 where there is no answer."""
    return {"answer": found.text, "score": found.score, "start": found.start or 0, "end": found.end or 0}


class Writing(Object):
    """What clients say of how text is made."""

    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**53)
    top_k: int | None = Field(None, ge=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)


def generation(
    said: Writing, base: Generation, limits: Limits, new_tokens: int | None, stop: Sequence[str], draws: bool | None
) -> Generation:
    """``base`` with what a client says; a temperature of 0 is the likeliest text.

    ``draws`` is whether it said that tokens are drawn; where not, they are if it set a temperature or the like.
    """
    changed = replace(
        base,
        decoding=_decoding(said, base, draws),
        max_new_tokens=base.max_new_tokens if new_tokens is None else new_tokens,
        repetition_penalty=said.repetition_penalty or base.repetition_penalty,
        stop=(*base.stop, *stop),
    )
    return refuse_long(changed, limits)


def _decoding(said: Writing, base: Generation, draws: bool | None) -> AnyDecoding:
    given = {"temperature": said.temperature, "top_p": said.top_p, "top_k": said.top_k}
    named: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if draws is False or (said.temperature is not None and said.temperature < LEAST_TEMPERATURE):
        return Greedy()
    if draws is None and not named:
        return base.decoding
    seed = secrets.randbits(31) if said.seed is None else said.seed
    return Sample(seed=seed, **named)


def one_stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    found = (stop,) if isinstance(stop, str) else tuple(stop or ())
    return tuple(text for text in found if text)
