"""The wire format: what a request and its answers look like, for OpenAPI and for checking."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextRow(_Object):
    text: str = Field(description="The text to answer.", examples=["a great film"])


class PairRow(TextRow):
    text_pair: str = Field(description="The second text of a pair.", examples=["a good film"])


class ChoicesRow(TextRow):
    question: str | None = Field(None, description="What is asked about the text.")
    choices: list[str] = Field(description="Of these one is chosen.", min_length=2)


class CandidatesRow(_Object):
    query: str = Field(description="What is searched for.")
    candidates: list[str] = Field(description="What is to be put in order.", min_length=1)


class HistoryRow(_Object):
    history: list[str] = Field(description="What was taken, in order.", min_length=1)


class TokensRow(_Object):
    tokens: list[str] = Field(description="The text as tokens; the answer then has one tag for each.", min_length=1)


class Turn(_Object):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class MessagesRow(_Object):
    messages: list[Turn] = Field(description="A conversation; the answer is the assistant's next turn.", min_length=1)


class ContextRow(_Object):
    context: str = Field(description="The text that may hold the answer.")
    question: str


class Place(_Object):
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


class Question(_Object):
    rows: list[
        str
        | TextRow
        | PairRow
        | ChoicesRow
        | CandidatesRow
        | HistoryRow
        | TokensRow
        | EntitiesRow
        | EntitiesOfTokensRow
        | EndsRow
        | EndsOfTokensRow
        | ContextRow
        | MessagesRow
    ] = Field(description="Each row is answered by itself.", min_length=1)


class LabelAnswer(_Object):
    label: str
    score: float = Field(description="Probability of the label.")
    scores: dict[str, float] = Field(description="Probability of each label.")


class LabelsAnswer(_Object):
    labels: list[str]
    scores: dict[str, float] = Field(description="Of each label the probability that it is there.")


class NumberAnswer(_Object):
    value: float


class ChoiceAnswer(_Object):
    index: int = Field(description="Which of the choices, from 0.")
    score: float = Field(description="Probability of the choice.")
    scores: list[float] = Field(description="Probability of each choice.")


class SpanAnswer(_Object):
    start: int = Field(description="First character, from 0, in code points of the text as it was sent.")
    end: int = Field(description="Last character, exclusive.")
    label: str
    score: float | None = None


class SpansAnswer(_Object):
    spans: list[SpanAnswer]
    tags: list[str] | None = None


class FrameAnswer(LabelAnswer, SpansAnswer):
    """An intent and its slots."""


class RelationAnswer(_Object):
    head: SpanAnswer
    tail: SpanAnswer
    label: str
    score: float | None = Field(None, description="Probability of the relation.")


class RelationsAnswer(_Object):
    relations: list[RelationAnswer]
    spans: list[SpanAnswer] | None = Field(None, description="The entities, where the model finds them itself.")


class EventAnswer(_Object):
    trigger: SpanAnswer = Field(description="The word that says that something happens, labelled with the type.")
    arguments: list[SpanAnswer] = Field(description="Who and what take part, labelled with their roles.")


class EventsAnswer(_Object):
    events: list[EventAnswer]


class ContextAnswer(_Object):
    text: str = Field(description="Empty where the context has no answer.")
    start: int | None = Field(description="First character, from 0, in code points of the context as it was sent.")
    end: int | None = Field(description="Last character, exclusive.")
    score: float = Field(description="Probability of the answer.")
    no_answer: float = Field(description="Probability that the context has none.")
    others: list["ContextAnswer"] | None = Field(None, description="The next best.")


class TextAnswer(_Object):
    text: str
    score: float | None = None


class VectorAnswer(_Object):
    vector: list[float] = Field(description="Of length 1: the product of two is their cosine.")


class Ranked(_Object):
    id: str = Field(description="The candidate.")
    score: float


class RankingAnswer(_Object):
    ranking: list[Ranked] = Field(description="The candidates, the best first.")


class FillingAnswer(_Object):
    text: str = Field(description="A piece that may stand at the mask.")
    score: float = Field(description="Its probability.")


class FillingsAnswer(_Object):
    fillings: list[list[FillingAnswer]] = Field(description="For each mask the most likely pieces, the best first.")


class LikelyAnswer(_Object):
    log_prob: float = Field(description="Of the text and its end, in nats.")
    perplexity: float = Field(description="A unit; compares only models of the same units.")
    bits_per_byte: float
    units: int = Field(description="Words, pieces or characters that were predicted, and the end.")


class Answer(_Object):
    model: str = Field(description="name@version of the model that answered.")
    predictions: list[
        LabelAnswer
        | LabelsAnswer
        | NumberAnswer
        | ChoiceAnswer
        | SpansAnswer
        | FrameAnswer
        | RelationsAnswer
        | EventsAnswer
        | ContextAnswer
        | TextAnswer
        | VectorAnswer
        | RankingAnswer
        | FillingsAnswer
        | LikelyAnswer
    ] = Field(description="One for each row, in order.")


class Health(_Object):
    status: str
    model: str
    task: str
    labels: list[str]


class Problem(_Object):
    error: str = Field(description="What is wrong, and the way out.")
