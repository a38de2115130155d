"""Events by a lexicon: what a model of events has to beat."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from lathe.core.boundaries import sentence_starts
from lathe.core.predictions import Event, Events, Prediction, Span, Spans
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.tags import frequent_tag


def frequent_events(rows: Sequence[Row]) -> Predictor:
    """Each word's most frequent tag as a trigger, and in the trigger's sentence its most frequent role in such events.

    Rows have text and events.
    """
    find = frequent_tag([{**row, "spans": sorted_(event.trigger for event in row["events"])} for row in rows])
    seen: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for event in row["events"]:
            seen[event.trigger.label].append(_sentence(row["text"], event.trigger, event.arguments))
    roles: Mapping[str, Predictor] = {label: frequent_tag(sentences) for label, sentences in seen.items()}

    def arguments(text: str, trigger: Span) -> tuple[Span, ...]:
        sentence = _sentence(text, trigger, ())
        found = cast(Spans, roles[trigger.label]([sentence])[0]).spans
        start = sentence["start"]
        return tuple(Span(start + one.start, start + one.end, one.label) for one in found)

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        given = [*map(as_row, rows)]
        triggers = (cast(Spans, spans).spans for spans in find(given))
        return [
            Events(tuple(Event(trigger, arguments(row["text"], trigger)) for trigger in found))
            for row, found in zip(given, triggers, strict=True)
        ]

    return predict


def sorted_(spans: Any) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda span: (span.start, span.end)))


def _sentence(text: str, trigger: Span, arguments: Sequence[Span]) -> dict[str, Any]:
    """The sentence of a trigger, where it begins in the text, and the arguments in it."""
    bounds = [0, *sentence_starts(text), len(text)]
    start, end = next((a, b) for a, b in pairwise(bounds) if a <= trigger.start < b)
    inside = (one for one in arguments if start <= one.start and one.end <= end)
    spans = sorted_(Span(one.start - start, one.end - start, one.label) for one in inside)
    return {"text": text[start:end], "start": start, "spans": spans}
