"""Relations, events and frames: what has to be right for one to count."""

import pytest

from lathe.core.metrics import (
    argument_f1,
    argument_identification_f1,
    frame_accuracy,
    intent_accuracy,
    relation_boundaries_f1,
    relation_entity_f1,
    relation_f1,
    slot_f1,
    trigger_f1,
    trigger_identification_f1,
)
from lathe.core.predictions import Event, Events, Frame, Label, Relation, Relations, Span, Spans

WU, BEIJING = Span(0, 2, "PER"), Span(4, 6, "LOC")
LIVES = Relation(WU, BEIJING, "lives in")


@pytest.mark.parametrize(
    "said, strict, boundaries",
    [
        (Relation(WU, BEIJING, "lives in", 0.3), 1, 1),
        (Relation(Span(0, 2, "ORG"), BEIJING, "lives in"), 0, 1),
        (Relation(WU, Span(4, 6, "ORG"), "lives in"), 0, 1),
        (Relation(WU, Span(4, 7, "LOC"), "lives in"), 0, 0),
        (Relation(BEIJING, WU, "lives in"), 0, 0),
        (Relation(WU, BEIJING, "born in"), 0, 0),
    ],
)
def test_a_relation_counts_with_both_spans_direction_and_label_right(said, strict, boundaries):
    assert relation_f1([Relations((LIVES,))], [Relations((said,))]) == strict
    assert relation_boundaries_f1([Relations((LIVES,))], [Relations((said,))]) == boundaries


def test_relations_of_all_rows_are_pooled():
    other = Relation(BEIJING, WU, "home of")
    golds = [Relations((LIVES, other)), Relations(())]
    assert relation_f1(golds, [Relations((LIVES,)), Relations((other,))]) == pytest.approx(0.5)


def test_entities_count_whether_they_are_in_a_relation_or_not():
    gold = Relations((LIVES,), (WU, BEIJING, Span(9, 11, "ORG")))
    assert relation_entity_f1([gold], [Relations((), (WU, BEIJING))]) == pytest.approx(0.8)


ATTACK = Event(Span(0, 3, "Attack"), (Span(4, 8, "Attacker"), Span(9, 12, "Target")))


@pytest.mark.parametrize(
    "said, trigger_found, trigger, argument_found, argument",
    [
        (ATTACK, 1, 1, 1, 1),
        (Event(Span(0, 3, "Die"), ATTACK.arguments), 1, 0, 0, 0),
        (Event(Span(0, 4, "Attack"), ATTACK.arguments), 0, 0, 1, 1),
        (Event(ATTACK.trigger, (Span(4, 8, "Target"), Span(9, 12, "Target"))), 1, 1, 1, 0.5),
        (Event(ATTACK.trigger, (Span(4, 8, "Attacker"),)), 1, 1, 2 / 3, 2 / 3),
        (Event(ATTACK.trigger, ()), 1, 1, 0, 0),
    ],
)
def test_what_of_an_event_is_right_is_told_on_four_levels(said, trigger_found, trigger, argument_found, argument):
    rows = [Events((ATTACK,))], [Events((said,))]
    assert trigger_identification_f1(*rows) == trigger_found
    assert trigger_f1(*rows) == trigger
    assert argument_identification_f1(*rows) == pytest.approx(argument_found)
    assert argument_f1(*rows) == pytest.approx(argument)


def test_a_frame_is_right_with_its_intent_and_all_its_slots():
    golds = [("book", (WU, BEIJING)), ("book", ()), ("play", (WU,)), ("play", (WU,))]
    said = [("book", (BEIJING, WU)), ("play", ()), ("play", ()), ("play", (WU, BEIJING))]
    predictions = [Frame(Label(intent, {}), Spans(slots)) for intent, slots in said]
    assert frame_accuracy(golds, predictions) == 0.25
    assert intent_accuracy(golds, predictions) == 0.75
    assert slot_f1(golds, predictions) == pytest.approx(2 * 3 / (4 + 4))
