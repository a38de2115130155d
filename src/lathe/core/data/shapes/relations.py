"""Rows of texts in which entities are tied: relations between two, events of a trigger and its arguments."""

from collections.abc import Mapping, Sequence
from typing import Any

from lathe.core.data.records import RowError
from lathe.core.data.shapes.columns import Reading, Role, Shape, Values
from lathe.core.data.shapes.spans import (
    SPANS_ROLE,
    TOKENS_ROLE,
    in_order,
    read_tokens,
    span_of,
    spans_of,
)
from lathe.core.data.shapes.texts import TEXT_ROLE, read_text
from lathe.core.data.shapes.values import checked_label, checked_list, of_json
from lathe.core.predictions import Event, Relation, Span
from lathe.core.tagging import Offsets

ENTITY = "entity"
"""Label of an entity whose kind a file does not say."""
_RELATION_FIX = 'write {"head": 0, "tail": 1, "label": "works for"}: places in the list of spans, or their ids'
_EVENT_FIX = 'write {"type": "attack", "trigger": {"start": 0, "end": 4}, "arguments": [{"start", "end", "role"}]}'
_HEAD, _TAIL = ("head", "from_id", "arg1", "subject"), ("tail", "to_id", "arg2", "object")


# --------------------------------------------------------------------------------------------------------- relations
def read_entities(values: Values) -> Reading:
    """``{text, spans}``; spans may be nested."""
    row, offsets = _base(values)
    spans = spans_of(row["text"], values["spans"], offsets)
    _refuse_twice("spans", spans, values["spans"])
    return Reading(row | {"spans": in_order(spans)})


def read_relations(values: Values) -> Reading:
    """``{text, spans, relations: [{head, tail, label}]}``: heads and tails are places in the list, or ids of spans."""
    reading = read_entities(values)
    given = checked_list(values["spans"], "spans", "")
    spans = spans_of(reading.row["text"], given, reading.row.get("offsets"))
    known = _by_name(given, spans)
    fix = "write [] where there is none"
    relations = [_relation(one, known) for one in checked_list(values["relations"], "relations", fix)]
    _refuse_twice("relations", relations, values["relations"])
    return reading.with_(relations=tuple(relations))


def read_marked_pair(values: Values) -> Reading:
    """``{text, head, tail}``: the two entities of which something is to be said; ``pairs`` of the row holds them."""
    row, offsets = _base(values)
    head, tail = (
        span_of(row["text"], of_json(values[role]), offsets, role, otherwise=ENTITY) for role in ("head", "tail")
    )
    return Reading(row | {"spans": (head, tail), "pairs": ((head, tail),)})


def read_related_pair(values: Values) -> Reading:
    """``{text, head, tail, label}``: a text with one marked pair and its relation."""
    label, notes = checked_label(values["label"])
    reading = read_marked_pair(values)
    ((head, tail),) = reading.row["pairs"]
    return reading.with_(relations=(Relation(head, tail, label),)).noting(*notes)


def _base(values: Values) -> tuple[dict[str, Any], Offsets | None]:
    """The text, and where its tokens stand if spans are counted in tokens."""
    row = (read_tokens if "tokens" in values else read_text)(values).row
    return row, row.get("offsets")


def _by_name(given: Sequence[Any], spans: Sequence[Span]) -> dict[Any, Span]:
    """Spans by their ids where they have some, else by their places in the list."""
    ids = [one.get("id") for one in given if isinstance(one, Mapping) and one.get("id") is not None]
    if not ids:
        return dict(enumerate(spans))
    if len(ids) != len(spans) or len(set(map(str, ids))) != len(ids):
        raise RowError("spans", str(ids), "some spans have no id, or two have the same", "give each an id of its own")
    return dict(zip(ids, spans, strict=True))


def _relation(given: Any, known: Mapping[Any, Span]) -> Relation:
    if not isinstance(given, Mapping):
        raise RowError("relations", given, "a relation that is no object", _RELATION_FIX)
    head, tail = _end(given, _HEAD, known), _end(given, _TAIL, known)
    if head == tail:
        raise RowError("relations", given, "head and tail are the same span", _RELATION_FIX)
    label = next((given[key] for key in ("label", "type", "relation", "labels") if key in given), None)
    return Relation(head, tail, checked_label(label, "relations")[0])


def _end(given: Mapping[str, Any], keys: Sequence[str], known: Mapping[Any, Span]) -> Span:
    name = next((given[key] for key in keys if key in given), None)
    if not isinstance(name, int | str) or isinstance(name, bool) or name not in known:
        several = ", ".join(map(str, list(known)[:5]))
        raise RowError("relations", given, f"{keys[0]} {name!r} is none of the spans {several}", _RELATION_FIX)
    return known[name]


# ------------------------------------------------------------------------------------------------------------ events
def read_events(values: Values) -> Reading:
    """``{text, events: [{type, trigger: {start, end}, arguments: [{start, end, role}]}]}``."""
    row, offsets = _base(values)
    given = checked_list(values["events"], "events", "write [] where there is none")
    events = [_event(row["text"], one, offsets) for one in given]
    _refuse_twice("events", events, values["events"])
    return Reading(row | {"events": tuple(sorted(events, key=lambda one: (one.trigger.start, one.trigger.end)))})


def _event(text: str, given: Any, offsets: Offsets | None) -> Event:
    if not isinstance(given, Mapping) or "trigger" not in given:
        raise RowError("events", given, "an event without a trigger", _EVENT_FIX)
    kind = next((given[key] for key in ("type", "event_type", "label") if key in given), None)
    trigger = span_of(text, given["trigger"], offsets, "events", otherwise=kind)
    if kind is not None and trigger.label != kind:
        trigger = Span(trigger.start, trigger.end, checked_label(kind, "events")[0])
    arguments = checked_list(given.get("arguments", []), "events", _EVENT_FIX)
    roles = ("role", "label", "type")
    read = [span_of(text, one, offsets, "events", roles) for one in arguments]
    _refuse_twice("events", read, given)
    return Event(trigger, in_order(read))


def _refuse_twice(role: str, found: Sequence[Any], given: Any) -> None:
    if len(set(found)) < len(found):
        twice = next(one for one in found if found.count(one) > 1)
        raise RowError(role, given, f"stands twice: {twice}", "keep one of them")


# ------------------------------------------------------------------------------------------------------------- roles
_RELATIONS = Role("relations", ("relations", "relation", "links", "关系"), by_elimination=True)
_HEAD_ROLE = Role("head", ("head", "h", "subject", "e1", "entity1", "arg1"))
_TAIL_ROLE = Role("tail", ("tail", "t", "object", "e2", "entity2", "arg2"))
_LABEL = Role("label", ("relation", "label", "relation_type", "type", "predicate", "关系"), by_elimination=True)
_EVENTS = Role("events", ("events", "event_list", "event", "事件"), by_elimination=True)

ENTITIES = (
    Shape((TOKENS_ROLE, _HEAD_ROLE, _TAIL_ROLE), read_marked_pair),
    Shape((TEXT_ROLE, _HEAD_ROLE, _TAIL_ROLE), read_marked_pair),
    Shape((TOKENS_ROLE, SPANS_ROLE), read_entities),
    Shape((TEXT_ROLE, SPANS_ROLE), read_entities),
)
"""Texts with entities between which relations are sought: rows ``{text, spans}``, with ``pairs`` where one is meant."""

RELATED = (
    Shape((TOKENS_ROLE, _HEAD_ROLE, _TAIL_ROLE, _LABEL), read_related_pair),
    Shape((TEXT_ROLE, _HEAD_ROLE, _TAIL_ROLE, _LABEL), read_related_pair),
    Shape((TOKENS_ROLE, SPANS_ROLE, _RELATIONS), read_relations),
    Shape((TEXT_ROLE, SPANS_ROLE, _RELATIONS), read_relations),
)
"""Texts with relations between entities: rows ``{text, spans, relations}``; spans of rows of tokens count tokens."""

EVENTED = (Shape((TOKENS_ROLE, _EVENTS), read_events), Shape((TEXT_ROLE, _EVENTS), read_events))
"""Texts with events: rows ``{text, events}``; unlabelled ones are ``TOKENS_OR_TEXT``."""
