"""What an evaluation found, and its JSON form."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lathe.core.data import Shape
from lathe.core.measure import Speed
from lathe.core.metrics import exact_match
from lathe.core.predictions import (
    Answer,
    Events,
    Frame,
    Label,
    Number,
    Prediction,
    Ranking,
    Relations,
    Span,
    Spans,
)
from lathe.core.stats import Score
from lathe.core.types import Row
from lathe.tasks.findings import Findings

BRIEF = 200  # characters of an answer that a table shows


@dataclass(frozen=True)
class Comparison:
    """Another model on the same rows; differences are this model minus that one."""

    model: str
    digest: str
    size_bytes: int
    speed: Speed
    differences: Mapping[str, Score]
    mcnemar: float  # two-sided p that both are right on equally many rows


@dataclass(frozen=True)
class Evaluation(Findings):
    """One model on one file."""

    model: str
    digest: str
    size_bytes: int
    speed: Speed
    shapes: Sequence[Shape]  # of rows without an answer
    data: str
    lines: Sequence[int]
    rows: Sequence[Mapping[str, Any]]
    scores: Mapping[str, Score]
    baseline: Mapping[str, float]  # of the most frequent label for every row, or of BM25 where rows search
    comparison: Comparison | None

    def by_row(self) -> Iterator[tuple[int, Mapping[str, Any], Any, Any]]:
        """Line in the file, row, gold, prediction."""
        return zip(self.lines, self.rows, self.golds, self.predictions, strict=True)

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows."""
        return {
            "model": {"name": self.model, "digest": self.digest, "size_bytes": self.size_bytes},
            "data": {"path": self.data, "rows": len(self.rows)},
            "task": {"kind": self.kind, "labels": list(self.labels)},
            "scores": {name: found._asdict() for name, found in self.scores.items()},
            "baseline": dict(self.baseline),
            "speed": self.speed._asdict(),
            "by_label": {label: found._asdict() for label, found in self.by_label.items()},
            "confusion": self.confusion,
            "calibration": [found._asdict() for found in self.calibration or ()],
            "comparison": None if self.comparison is None else _comparison(self.comparison),
        }


def mistakes(gold: Any, prediction: Prediction) -> str:
    """What is wrong with an answer, in brief; nothing where it is right.

    >>> mistakes("good", Label("bad", {"bad": 0.8}))
    'bad (0.80) for good'
    """
    if isinstance(prediction, Label):
        sure = prediction.scores[prediction.label]
        return "" if prediction.label == gold else f"{prediction.label} ({sure:.2f}) for {gold}"
    if isinstance(prediction, Frame):
        intent, slots = gold
        return ", ".join(filter(None, (mistakes(intent, prediction.label), mistakes(slots, prediction.spans))))
    if isinstance(prediction, Answer):
        right = exact_match([gold], [prediction])
        return "" if right else f"{_brief(prediction.text)!r} for {_brief(gold[0] if gold else '')!r}"
    if isinstance(prediction, Ranking):
        return _missed(gold, prediction)
    if isinstance(prediction, Number):
        return "" if prediction.value == gold else f"{prediction.value:.4g} for {gold:.4g}"
    if not isinstance(prediction, Spans | Relations | Events):
        return _told(gold, prediction)
    wanted, given = _items(gold), _items(prediction)
    missed = [f"missed {told}" for *_, told in sorted(wanted - given)]
    return ", ".join(missed + [f"wrong {told}" for *_, told in sorted(given - wanted)])


def as_sent(row: Row, shapes: Sequence[Shape]) -> dict[str, Any]:
    """A labelled row as a user would send it: what one of ``shapes`` reads of it."""
    pair = dict(zip(("head", "tail"), row["pairs"][0], strict=True)) if "pairs" in row else {}
    named = {**row, **pair}
    if "positives" in row and all(any(role.name == "candidates" for role in shape.roles) for shape in shapes):
        named["candidates"] = (*row["positives"], *row["negatives"])
    fitting = (shape for shape in shapes if all(role.is_optional or role.name in named for role in shape.roles))
    sent = {role.name: named[role.name] for role in next(fitting).roles if role.name in named}
    if sent.keys() & {"head", "spans"}:  # they are places of the text, whatever was counted in the file
        return {"text": row["text"]} | {name: gold_json(one) for name, one in sent.items() if name != "tokens"}
    if "messages" in sent:  # the last one is the answer
        sent["messages"] = [message._asdict() for message in sent["messages"][:-1]]
    return sent


def gold_json(gold: Any) -> Any:
    """A gold answer as JSON."""
    if hasattr(gold, "to_json"):
        return gold.to_json()
    if isinstance(gold, Mapping):
        return {name: gold_json(value) for name, value in gold.items()}
    return [gold_json(one) for one in gold] if isinstance(gold, tuple | list) else gold


def _missed(gold: Mapping[str, float], ranking: Ranking) -> str:
    """Where the first one that is sought stands, if not in the first place."""
    place = next((place for place, name in enumerate(ranking.ids) if gold.get(name)), None)
    if place == 0 or not any(gold.values()):
        return ""
    where = "is not found" if place is None else f"stands in place {place + 1}"
    return f"{_brief(next(name for name, grade in gold.items() if grade))} {where}"


def _told(gold: Any, prediction: Prediction) -> str:
    """The answer beside what was wanted, where they differ as written."""
    given = next(iter(prediction.to_json().values()))
    wanted = gold_json(gold)
    right = given in wanted if isinstance(wanted, list) and not isinstance(given, list) else given == wanted
    return "" if right else f"{_brief(given)} for {_brief(wanted)}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}…"


def _items(answer: Any) -> set[tuple[int, int, str]]:
    """Where each thing that counts stands, and how it is told."""
    if isinstance(answer, Relations):
        ends = ((one.head, one.tail, one.label) for one in answer.relations)
        return {(head.start, tail.start, f"{label} ({_place(head)}, {_place(tail)})") for head, tail, label in ends}
    if isinstance(answer, Events):
        triggers = {(one.trigger.start, one.trigger.end, _place(one.trigger)) for one in answer.events}
        arguments = ((one, event.trigger.label) for event in answer.events for one in event.arguments)
        return triggers | {(one.start, one.end, f"{label}.{_place(one)}") for one, label in arguments}
    return {(span.start, span.end, _place(span)) for span in getattr(answer, "spans", answer)}


def _place(span: Span) -> str:
    return f"{span.label} {span.start}-{span.end}"


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "model": {"name": found.model, "digest": found.digest, "size_bytes": found.size_bytes},
        "speed": found.speed._asdict(),
        "differences": {name: value._asdict() for name, value in found.differences.items()},
        "mcnemar_p": found.mcnemar,
    }
