"""Relations and events: what they tie is looked up, never guessed."""

import pytest

from lathe.core.data import ENTITIES, EVENTED, RELATED, Columns, RowError, find_columns, read_row
from lathe.core.predictions import Event, Relation, Span

TEXT = "Ada works for Acme in Rome"
ADA, ACME, ROME = Span(0, 3, "PER"), Span(14, 18, "ORG"), Span(22, 26, "LOC")


def read(shapes, row):
    return read_row(row, *find_columns(list(row), shapes, Columns()))


def entity(span, **more):
    return {"start": span.start, "end": span.end, "label": span.label} | more


def test_heads_and_tails_are_places_in_the_list_as_it_was_written():
    relations = [{"head": 1, "tail": 0, "label": "works for"}]
    row, _ = read(RELATED, {"text": TEXT, "entities": [entity(ACME), entity(ADA)], "relations": relations})
    assert row == {"text": TEXT, "spans": (ADA, ACME), "relations": (Relation(ADA, ACME, "works for"),)}


def test_heads_and_tails_are_ids_where_spans_have_some():
    spans = [entity(ADA, id=7), entity(ACME, id=3)]
    relations = [{"id": 0, "from_id": 7, "to_id": 3, "type": "works for"}]  # as doccano writes them
    row, _ = read(RELATED, {"text": TEXT, "entities": spans, "relations": relations})
    assert row["relations"] == (Relation(ADA, ACME, "works for"),)


@pytest.mark.parametrize(
    "spans, relation, reason",
    [
        ([entity(ADA), entity(ACME)], {"head": 0, "tail": 2, "label": "x"}, "tail 2 is none of the spans 0, 1"),
        ([entity(ADA), entity(ACME)], {"head": 0, "tail": True, "label": "x"}, "tail True is none"),
        ([entity(ADA), entity(ACME)], {"head": 0, "label": "x"}, "tail None is none"),
        ([entity(ADA), entity(ACME)], {"head": 1, "tail": 1, "label": "x"}, "the same span"),
        ([entity(ADA), entity(ACME)], {"head": 0, "tail": 1}, "the label is missing"),
        ([entity(ADA), entity(ACME)], ["x", 0, 1], "no object"),
        ([entity(ADA, id=1), entity(ACME)], {"head": 1, "tail": 2, "label": "x"}, "have no id"),
        ([entity(ADA, id=1), entity(ACME, id=1)], {"head": 1, "tail": 1, "label": "x"}, "two have the same"),
        ([entity(ADA), entity(ADA)], {"head": 0, "tail": 1, "label": "x"}, "stands twice"),
    ],
)
def test_a_relation_of_what_is_not_there_is_refused(spans, relation, reason):
    with pytest.raises(RowError, match=reason):
        read(RELATED, {"text": TEXT, "spans": spans, "relations": [relation]})


def test_nested_spans_may_be_related():
    inner = entity(Span(14, 16, "X"))
    row, _ = read(RELATED, {"text": TEXT, "spans": [entity(ACME), inner], "relations": []})
    assert len(row["spans"]) == 2


def test_a_marked_pair_counts_tokens():
    row = {"tokens": ["Ada", "works", "for", "Acme"], "head": {"start": 0, "end": 1}, "tail": {"start": 3, "end": 4}}
    head, tail = Span(0, 3, "entity"), Span(14, 18, "entity")
    labelled = read(RELATED, row | {"relation": "works for"})[0]
    assert labelled["relations"] == (Relation(head, tail, "works for"),)
    assert labelled["text"] == "Ada works for Acme"
    assert read(ENTITIES, row)[0]["pairs"] == ((head, tail),)


@pytest.mark.parametrize(
    "head, reason",
    [
        ({"start": 0, "end": 5}, "outside the text of 4 tokens"),
        ({"start": 1, "end": 1}, "a span of no tokens"),
        ({"start": 0, "end": 1, "text": "Acme"}, "the span says 'Acme', the text there is 'Ada'"),
    ],
)
def test_a_pair_that_does_not_fit_its_tokens_is_refused(head, reason):
    row = {"tokens": ["Ada", "works", "for", "Acme"], "tail": {"start": 3, "end": 4}, "relation": "x"}
    with pytest.raises(RowError, match=reason) as error:
        read(RELATED, row | {"head": head})
    assert error.value.field == "head"


def test_events_have_a_trigger_with_their_type_and_arguments_with_their_roles():
    trigger = {"start": 4, "end": 9, "text": "works"}
    arguments = [entity(ACME) | {"role": "employer"}, {"start": 0, "end": 3, "role": "employee", "type": "Person"}]
    row, _ = read(EVENTED, {"text": TEXT, "events": [{"type": "job", "trigger": trigger, "arguments": arguments}]})
    event = Event(Span(4, 9, "job"), (Span(0, 3, "employee"), Span(14, 18, "employer")))
    assert row == {"text": TEXT, "events": (event,)}


@pytest.mark.parametrize(
    "event, reason",
    [
        ({"type": "job"}, "without a trigger"),
        ({"trigger": {"start": 4, "end": 9}}, "without start, end and label"),
        ({"type": "job", "trigger": {"start": 4, "end": 9, "text": "work"}}, "the text there is 'works'"),
        ({"type": "job", "trigger": [4, 9], "arguments": [[0, 3]]}, "without start, end and label"),
        ({"type": "job", "trigger": [4, 9], "arguments": {"role": "x"}}, "an object, not a list"),
        ("job", "without a trigger"),
    ],
)
def test_an_event_that_does_not_fit_its_text_is_refused(event, reason):
    with pytest.raises(RowError, match=reason):
        read(EVENTED, {"text": TEXT, "events": [event]})
