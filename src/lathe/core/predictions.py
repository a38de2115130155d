"""What models answer: one small value for each kind of task, with the one JSON form that command line, Python and
server share.

Positions are code points of the *user's* text, ends exclusive. Probabilities and scores are plain floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled stretch of a text: an entity, a trigger, an argument under its role."""

    start: int
    end: int
    label: str
    score: float | None = None

    def to_json(self) -> Json:
        return {"start": self.start, "end": self.end, "label": self.label} | _score(self.score)


@dataclass(frozen=True, slots=True)
class Label:
    """One label for a text.

    >>> Label("good", {"good": 0.9, "bad": 0.1}).to_json()
    {'label': 'good', 'score': 0.9, 'scores': {'good': 0.9, 'bad': 0.1}}
    """

    label: str
    scores: Mapping[str, float]  # label -> probability, in the order of the task's labels

    def to_json(self) -> Json:
        return {"label": self.label, "score": self.scores[self.label], "scores": dict(self.scores)}


@dataclass(frozen=True, slots=True)
class Labels:
    """Any number of labels for a text."""

    labels: tuple[str, ...]  # in the order of the task's labels
    scores: Mapping[str, float]  # of every label its own probability: they do not add up to 1

    def to_json(self) -> Json:
        return {"labels": list(self.labels), "scores": dict(self.scores)}


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity: a rating, how alike two texts are."""

    value: float

    def to_json(self) -> Json:
        return {"value": self.value}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the choices of a row."""

    index: int
    scores: tuple[float, ...]  # probability of each choice

    def to_json(self) -> Json:
        return {"index": self.index, "score": self.scores[self.index], "scores": list(self.scores)}


@dataclass(frozen=True, slots=True)
class Spans:
    """Labelled spans of a text; ``tags`` has one BIO tag for each token where the row came as tokens.

    >>> Spans((Span(0, 5, "LOC"),)).to_json()
    {'spans': [{'start': 0, 'end': 5, 'label': 'LOC'}]}
    """

    spans: tuple[Span, ...]
    tags: tuple[str, ...] | None = None

    def to_json(self) -> Json:
        spans = {"spans": [span.to_json() for span in self.spans]}
        return spans | ({} if self.tags is None else {"tags": list(self.tags)})


@dataclass(frozen=True, slots=True)
class Frame:
    """What an utterance wants (its intent), and the values it gives (its slots)."""

    label: Label
    spans: Spans

    def to_json(self) -> Json:
        return self.label.to_json() | self.spans.to_json()


@dataclass(frozen=True, slots=True)
class Relation:
    """What holds between two entities, from head to tail."""

    head: Span
    tail: Span
    label: str
    score: float | None = None

    def to_json(self) -> Json:
        ends = {"head": self.head.to_json(), "tail": self.tail.to_json()}
        return ends | {"label": self.label} | _score(self.score)


@dataclass(frozen=True, slots=True)
class Relations:
    """The relations of a text, and its entities where the model found them itself."""

    relations: tuple[Relation, ...]
    spans: tuple[Span, ...] | None = None

    def to_json(self) -> Json:
        relations = {"relations": [relation.to_json() for relation in self.relations]}
        return relations | ({} if self.spans is None else {"spans": [span.to_json() for span in self.spans]})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens: the word that says so, labelled with its type, and who and what take part."""

    trigger: Span
    arguments: tuple[Span, ...]  # each labelled with its role

    def to_json(self) -> Json:
        return {"trigger": self.trigger.to_json(), "arguments": [span.to_json() for span in self.arguments]}


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a text."""

    events: tuple[Event, ...]

    def to_json(self) -> Json:
        return {"events": [event.to_json() for event in self.events]}


@dataclass(frozen=True, slots=True)
class Answer:
    """A stretch of a context that answers a question; no text and no place where the context has no answer."""

    text: str
    start: int | None
    end: int | None
    score: float  # probability of this answer
    no_answer: float = 0.0  # probability that the context has none
    others: tuple["Answer", ...] = ()  # the next best

    def to_json(self) -> Json:
        told = {"text": self.text, "start": self.start, "end": self.end, "score": self.score}
        others = {"others": [other.to_json() for other in self.others]} if self.others else {}
        return told | {"no_answer": self.no_answer} | others


@dataclass(frozen=True, slots=True)
class Text:
    """A text that the model wrote."""

    text: str
    score: float | None = None  # mean log probability of its tokens

    def to_json(self) -> Json:
        return {"text": self.text} | _score(self.score)


@dataclass(frozen=True, slots=True)
class Filling:
    """A piece that may stand at a mask."""

    text: str
    score: float  # its probability
    token: int | None = None  # its number in the vocabulary, which the JSON form leaves out

    def to_json(self) -> Json:
        return {"text": self.text, "score": self.score}


@dataclass(frozen=True, slots=True)
class Fillings:
    """For each mask of a text the most likely pieces, the best first."""

    fillings: tuple[tuple[Filling, ...], ...]

    def to_json(self) -> Json:
        return {"fillings": [[one.to_json() for one in mask] for mask in self.fillings]}


@dataclass(frozen=True, slots=True)
class Likely:
    """How likely a text is, its end among what is predicted."""

    log_prob: float  # nats
    perplexity: float  # a unit: compares only models of the same units
    bits_per_byte: float
    units: int  # words, pieces or characters that were predicted, and the end

    def to_json(self) -> Json:
        told = {"log_prob": self.log_prob, "perplexity": self.perplexity, "bits_per_byte": self.bits_per_byte}
        return told | {"units": self.units}


@dataclass(frozen=True, slots=True)
class Vector:
    """Where a text lies in the space of its meaning."""

    values: tuple[float, ...]

    def to_json(self) -> Json:
        return {"vector": list(self.values)}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, the best first."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]  # of each, falling

    @classmethod
    def of(cls, ids: Sequence[str], scores: Sequence[float]) -> Self:
        """In the order of their scores; equal ones in the order in which they came."""
        order = sorted(range(len(ids)), key=lambda place: -scores[place])
        return cls(tuple(ids[place] for place in order), tuple(scores[place] for place in order))

    def to_json(self) -> Json:
        return {"ranking": [{"id": i, "score": s} for i, s in zip(self.ids, self.scores, strict=True)]}


Prediction: TypeAlias = (
    Label
    | Labels
    | Number
    | Choice
    | Spans
    | Frame
    | Relations
    | Events
    | Answer
    | Text
    | Fillings
    | Likely
    | Vector
    | Ranking
)


def _score(score: float | None) -> Json:
    return {} if score is None else {"score": score}
