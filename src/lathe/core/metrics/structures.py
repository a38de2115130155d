"""Metrics of what is built of spans: relations, events, and frames of an intent with its slots.

All count sets over rows, right, predicted and gold, as those of spans do; what stands twice in a row counts once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from lathe.core.metrics.spans import plain, span_rows
from lathe.core.metrics.sums import Floats, f1_of, mean_of, paired, set_row, total
from lathe.core.predictions import Event, Events, Frame, Relation, Relations, Span, Spans

RelationGolds: TypeAlias = Sequence[Relations]
EventGolds: TypeAlias = Sequence[Events]
FrameGolds: TypeAlias = Sequence[tuple[str, Sequence[Span]]]


# ------------------------------------------------------------------------------------------------------------ relations
def relation_f1(golds: RelationGolds, predictions: Sequence[Relations]) -> float:
    """F1 of relations whose label, direction, and start, end and label of both spans are right ("strict").

    The names are those of Taillé et al. (2020), *Let's Stop Incorrect Comparisons in End-to-end Relation Extraction!*
    """
    return float(f1_of(total(relation_rows, golds, predictions)))


def relation_boundaries_f1(golds: RelationGolds, predictions: Sequence[Relations]) -> float:
    """F1 of relations whose label, direction, and start and end of both spans are right ("boundaries")."""
    return float(f1_of(total(relation_boundaries_rows, golds, predictions)))


def relation_entity_f1(golds: RelationGolds, predictions: Sequence[Relations]) -> float:
    """Strict F1 of the entities that were found on the way to the relations, in one or not."""
    return float(f1_of(total(relation_entity_rows, golds, predictions)))


def relation_rows(golds: RelationGolds, predictions: Sequence[Relations]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return _relations(golds, predictions, lambda one: (*_typed(one.head), *_typed(one.tail), one.label))


def relation_boundaries_rows(golds: RelationGolds, predictions: Sequence[Relations]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return _relations(golds, predictions, lambda one: (*_place(one.head), *_place(one.tail), one.label))


def relation_entity_rows(golds: RelationGolds, predictions: Sequence[Relations]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return span_rows([gold.spans or () for gold in golds], [Spans(one.spans or ()) for one in predictions])


# --------------------------------------------------------------------------------------------------------------- events
def trigger_identification_f1(golds: EventGolds, predictions: Sequence[Events]) -> float:
    """F1 of triggers whose start and end are right.

    The four levels are those of Li et al. (2013), *Joint Event Extraction via Structured Prediction with Global
    Features*.
    """
    return float(f1_of(total(trigger_identification_rows, golds, predictions)))


def trigger_f1(golds: EventGolds, predictions: Sequence[Events]) -> float:
    """F1 of triggers whose start, end and type are right ("trigger classification")."""
    return float(f1_of(total(trigger_rows, golds, predictions)))


def argument_identification_f1(golds: EventGolds, predictions: Sequence[Events]) -> float:
    """F1 of arguments whose start, end and type of event are right, wherever the trigger of that event stands."""
    return float(f1_of(total(argument_identification_rows, golds, predictions)))


def argument_f1(golds: EventGolds, predictions: Sequence[Events]) -> float:
    """F1 of arguments whose start, end, role and type of event are right ("argument classification")."""
    return float(f1_of(total(argument_rows, golds, predictions)))


def trigger_identification_rows(golds: EventGolds, predictions: Sequence[Events]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return _events(golds, predictions, lambda event: [_place(event.trigger)])


def trigger_rows(golds: EventGolds, predictions: Sequence[Events]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return _events(golds, predictions, lambda event: [_typed(event.trigger)])


def argument_identification_rows(golds: EventGolds, predictions: Sequence[Events]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return _events(golds, predictions, lambda event: [(event.trigger.label, *_place(one)) for one in event.arguments])


def argument_rows(golds: EventGolds, predictions: Sequence[Events]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return _events(golds, predictions, lambda event: [(event.trigger.label, *_typed(one)) for one in event.arguments])


# --------------------------------------------------------------------------------------------------------------- frames
def frame_accuracy(golds: FrameGolds, predictions: Sequence[Frame]) -> float:
    """Share of rows whose intent is right and whose slots are all found, with none too many."""
    return float(mean_of(total(frame_rows, golds, predictions)))


def intent_accuracy(golds: FrameGolds, predictions: Sequence[Frame]) -> float:
    """Share of rows whose intent is right, whatever their slots."""
    return float(mean_of(total(intent_rows, golds, predictions)))


def slot_f1(golds: FrameGolds, predictions: Sequence[Frame]) -> float:
    """Strict F1 of the slots of all rows pooled, whatever the intents."""
    return float(f1_of(total(slot_rows, golds, predictions)))


def frame_rows(golds: FrameGolds, predictions: Sequence[Frame]) -> Floats:
    """Is it wholly right, and 1.  [N, 2]"""
    right = [
        intent == one.label.label and plain(slots) == plain(one.spans.spans)
        for (intent, slots), one in paired(golds, predictions)
    ]
    return np.array([(ok, 1) for ok in right], np.float64)


def intent_rows(golds: FrameGolds, predictions: Sequence[Frame]) -> Floats:
    """Is the intent right, and 1.  [N, 2]"""
    return np.array([(intent == one.label.label, 1) for (intent, _), one in paired(golds, predictions)], np.float64)


def slot_rows(golds: FrameGolds, predictions: Sequence[Frame]) -> Floats:
    """[N, 3: right, predicted, gold]"""
    return span_rows([slots for _, slots in golds], [one.spans for one in predictions])


def _relations(
    golds: RelationGolds, predictions: Sequence[Relations], item: Callable[[Relation], tuple[Any, ...]]
) -> Floats:
    pairs = paired(golds, predictions)
    counts = [set_row(set(map(item, gold.relations)), set(map(item, one.relations))) for gold, one in pairs]
    return np.array(counts, np.float64)


def _events(
    golds: EventGolds, predictions: Sequence[Events], items: Callable[[Event], Iterable[tuple[Any, ...]]]
) -> Floats:
    def all_of(events: Sequence[Event]) -> set[tuple[Any, ...]]:
        return {item for event in events for item in items(event)}

    counts = [set_row(all_of(gold.events), all_of(one.events)) for gold, one in paired(golds, predictions)]
    return np.array(counts, np.float64)


def _place(span: Span) -> tuple[int, int]:
    return span.start, span.end


def _typed(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label
