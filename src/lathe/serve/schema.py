"""The wire format: what a request and its answers look like, for OpenAPI and for checking."""

from collections.abc import Sequence
from functools import cache, reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from lathe.generation import AnyDecoding


def _no_number(given: Any) -> Any:
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise ValueError("write false or leave it out")
    return given


Off: TypeAlias = Annotated[Literal[False] | None, BeforeValidator(_no_number)]
"""What this server does not do: it can only be said to be left out."""
One: TypeAlias = Annotated[int, Field(ge=1, le=1)] | None
"""What this server does once."""


class Object(BaseModel):
    """Names that nobody knows are refused, and so is what is no number; a number is no truth, and 1.0 no whole one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class TextRow(Object):
    text: str = Field(description="The text to answer.", examples=["a great film"])


class PairRow(TextRow):
    text_pair: str = Field(description="The second text of a pair.", examples=["a good film"])


class ChoicesRow(TextRow):
    question: str | None = Field(None, description="What is asked about the text.")
    choices: list[str] = Field(description="Of these one is chosen.", min_length=2)


class CandidatesRow(Object):
    query: str = Field(description="What is searched for.")
    candidates: list[str] = Field(description="What is to be put in order.", min_length=1)


class HistoryRow(Object):
    history: list[str] = Field(description="What was taken, in order.", min_length=1)


class TokensRow(Object):
    tokens: list[str] = Field(description="The text as tokens; the answer then has one tag for each.", min_length=1)


class Turn(Object):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class MessagesRow(Object):
    messages: list[Turn] = Field(description="A conversation; the answer is the assistant's next turn.", min_length=1)


class ContextRow(Object):
    context: str = Field(description="The text that may hold the answer.")
    question: str


class Place(Object):
    start: int = Field(description="First character, from 0, in code points of the text; of tokens, the first token.")
    end: int = Field(description="Last character, exclusive.")
    label: str | None = None


class EntitiesRow(TextRow):
    spans: list[Place] = Field(description="The entities between which relations are sought.")


class EntitiesOfTokensRow(TokensRow):
    spans: list[Place] = Field(description="The entities between which relations are sought, counted in tokens.")


class EndsRow(TextRow):
    head: Place = Field(description="The entity of which something is said.")
    tail: Place = Field(description="The entity that it has to do with.")


class EndsOfTokensRow(TokensRow):
    head: Place
    tail: Place


class QueryRow(Object):
    query: str = Field(description="What is searched for.")


AnyRow = (
    str
    | TextRow
    | PairRow
    | ChoicesRow
    | CandidatesRow
    | QueryRow
    | HistoryRow
    | TokensRow
    | EntitiesRow
    | EntitiesOfTokensRow
    | EndsRow
    | EndsOfTokensRow
    | ContextRow
    | MessagesRow
)


SURE = "Calibrated probability that the answer is right, where it was asked for; of a frame, its label."


class LabelAnswer(Object):
    label: str
    score: float = Field(description="Probability of the label.")
    scores: dict[str, float] = Field(description="Probability of each label.")
    confidence: float | None = Field(None, description=SURE)


class LabelsAnswer(Object):
    labels: list[str]
    scores: dict[str, float] = Field(description="Of each label the probability that it is there.")
    confidence: dict[str, float] | None = Field(None, description="The same, calibrated, where it was asked for.")


class NumberAnswer(Object):
    value: float


class ChoiceAnswer(Object):
    index: int = Field(description="Which of the choices, from 0.")
    score: float = Field(description="Probability of the choice.")
    scores: list[float] = Field(description="Probability of each choice.")
    confidence: float | None = Field(None, description=SURE)


class SpanAnswer(Object):
    start: int = Field(description="First character, from 0, in code points of the text as it was sent.")
    end: int = Field(description="Last character, exclusive.")
    label: str
    score: float | None = None


class SpansAnswer(Object):
    spans: list[SpanAnswer]
    tags: list[str] | None = None


class TaggedAnswer(SpansAnswer):
    confidence: list[float] | None = Field(
        None, description=f"Of each span, in their order: {SURE[0].lower()}{SURE[1:]}"
    )


class FrameAnswer(LabelAnswer, SpansAnswer):
    """An intent and its slots."""


class RelationAnswer(Object):
    head: SpanAnswer
    tail: SpanAnswer
    label: str
    score: float | None = Field(None, description="Probability of the relation.")


class RelationsAnswer(Object):
    relations: list[RelationAnswer]
    spans: list[SpanAnswer] | None = Field(None, description="The entities, where the model finds them itself.")


class EventAnswer(Object):
    trigger: SpanAnswer = Field(description="The word that says that something happens, labelled with the type.")
    arguments: list[SpanAnswer] = Field(description="Who and what take part, labelled with their roles.")


class EventsAnswer(Object):
    events: list[EventAnswer]


class ContextAnswer(Object):
    text: str = Field(description="Empty where the context has no answer.")
    start: int | None = Field(description="First character, from 0, in code points of the context as it was sent.")
    end: int | None = Field(description="Last character, exclusive.")
    score: float = Field(description="Probability of the answer.")
    no_answer: float = Field(description="Probability that the context has none.")
    others: list["ContextAnswer"] | None = Field(None, description="The next best.")
    confidence: float | None = Field(None, description=SURE)


class TextAnswer(Object):
    text: str
    score: float | None = None


class VectorAnswer(Object):
    vector: list[float] = Field(description="Of length 1: the product of two is their cosine.")


class Ranked(Object):
    id: str = Field(description="The candidate.")
    score: float


class RankingAnswer(Object):
    ranking: list[Ranked] = Field(description="The candidates, the best first.")


class FillingAnswer(Object):
    text: str = Field(description="A piece that may stand at the mask.")
    score: float = Field(description="Its probability.")


class FillingsAnswer(Object):
    fillings: list[list[FillingAnswer]] = Field(description="For each mask the most likely pieces, the best first.")


class LikelyAnswer(Object):
    log_prob: float = Field(description="Of the text and its end, in nats.")
    perplexity: float = Field(description="A unit; compares only models of the same units.")
    bits_per_byte: float
    units: int = Field(description="Words, pieces or characters that were predicted, and the end.")


AnyAnswer = (
    LabelAnswer
    | LabelsAnswer
    | NumberAnswer
    | ChoiceAnswer
    | TaggedAnswer
    | FrameAnswer
    | RelationsAnswer
    | EventsAnswer
    | ContextAnswer
    | TextAnswer
    | VectorAnswer
    | RankingAnswer
    | FillingsAnswer
    | LikelyAnswer
)


class Answer(Object):
    model: str = Field(description="name@version of the model that answered.")
    predictions: list[AnyAnswer] = Field(description="One for each row, in order.")


def _numbers(given: Any) -> Any:
    if isinstance(given, dict) and any(
        isinstance(value, bool | str) for name, value in given.items() if name != "kind"
    ):
        raise ValueError("each option beside kind is a number")
    return given


class GenerateOptions(Object):
    decoding: Annotated[AnyDecoding | None, BeforeValidator(_numbers)] = Field(
        None, description="How each token is chosen; the likeliest if not given."
    )
    max_new_tokens: int = Field(128, ge=1, description="Most tokens of an answer.")
    repetition_penalty: float = Field(1.0, ge=0.01, le=100)
    no_repeat_ngram_size: int = Field(0, ge=0, le=1000)
    stop: list[str] = Field([], max_length=16, description="An answer ends before the first of these texts.")


class GenerateQuestion(GenerateOptions):
    model: str | None = Field(None, description="Name of the model, or name@version.")
    rows: list[str | TextRow] = Field(description="Texts that are gone on with.", min_length=1)


class WrittenAnswer(Object):
    text: str
    tokens: int
    end: Literal["end", "stop", "length"] = Field(description="What ended it: the model, a stop text, the room.")


class GenerateAnswer(Object):
    model: str
    predictions: list[WrittenAnswer]


class Health(Object):
    status: str


class ProblemAnswer(Object):
    error: str | dict[str, Any] = Field(description="What is wrong, and the way out; of OpenAI's routes an object.")
    error_type: str | None = None


class Wire(NamedTuple):
    """What a task takes and gives over HTTP."""

    rows: Sequence[Any]
    answers: Sequence[Any]


_TEXTS = (str, TextRow)
_TEXT_OR_PAIR = (*_TEXTS, PairRow)
_TEXT_OR_TOKENS = (*_TEXTS, TokensRow)

WIRES = {
    "classify": Wire(_TEXT_OR_PAIR, [LabelAnswer]),
    "multilabel": Wire(_TEXTS, [LabelsAnswer]),
    "score": Wire(_TEXT_OR_PAIR, [NumberAnswer]),
    "choose": Wire([ChoicesRow], [ChoiceAnswer]),
    "tag": Wire(_TEXT_OR_TOKENS, [TaggedAnswer]),
    "intent": Wire(_TEXT_OR_TOKENS, [FrameAnswer]),
    "relate": Wire([*_TEXT_OR_TOKENS, EntitiesRow, EntitiesOfTokensRow, EndsRow, EndsOfTokensRow], [RelationsAnswer]),
    "event": Wire(_TEXT_OR_TOKENS, [EventsAnswer]),
    "answer": Wire([ContextRow], [ContextAnswer]),
    "transform": Wire(_TEXTS, [TextAnswer]),
    "chat": Wire([*_TEXTS, MessagesRow], [TextAnswer]),
    "embed": Wire([*_TEXT_OR_PAIR, QueryRow, CandidatesRow], [VectorAnswer, NumberAnswer, RankingAnswer]),
    "rank": Wire([CandidatesRow], [RankingAnswer]),
    "recommend": Wire([HistoryRow], [RankingAnswer]),
    "fill": Wire(_TEXTS, [FillingsAnswer]),
    "likelihood": Wire(_TEXTS, [LikelyAnswer]),
}
"""Of each member of the union of tasks, and of what language models answer by themselves."""


@cache
def row_of(kind: str) -> Any:
    return reduce(or_, WIRES[kind].rows)


@cache
def question_of(kind: str) -> type[BaseModel]:
    """The body of a request to ``/v1/{kind}``."""
    rows = Field(description="Each row is answered by itself.", min_length=1)
    model = Field(None, description="Name of the model, or name@version; needed where several have this task.")
    sure = Field(False, description="Whether each prediction comes with its calibrated confidence.")
    fields: dict[str, Any] = {"rows": (GenericAlias(list, row_of(kind)), rows), "model": (str | None, model)}
    fields["confidence"] = (bool, sure)
    return create_model(f"{kind.title()}Question", __base__=Object, **fields)


@cache
def answer_of(kind: str) -> type[BaseModel]:
    answers = GenericAlias(list, reduce(or_, WIRES[kind].answers))
    fields: dict[str, Any] = {"model": (str, ...), "predictions": (answers, ...)}
    return create_model(f"{kind.title()}Answer", __base__=Object, **fields)
