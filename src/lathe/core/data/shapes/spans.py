"""Rows of texts in which stretches are marked: entities, slots."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lathe.core.data.records import RowError
from lathe.core.data.shapes.columns import Reading, Role, Shape, Values
from lathe.core.data.shapes.texts import LABEL_ROLE, TEXT, TEXT_ROLE
from lathe.core.data.shapes.values import checked_label, checked_list, checked_text, checked_tokens, misplaced
from lathe.core.predictions import Span
from lathe.core.tagging import (
    Offsets,
    join_tokens,
    openings_without_begin,
    parse_tag,
    spans_of_tags,
    tags_of_spans,
)

NO_BEGIN = "entities that open without a B- tag (IOB1, or slips) are read as conlleval reads them"
_FIX = 'write {"start": 0, "end": 4, "label": "PER"}: characters from 0, end exclusive'
_START, _END = ("start", "start_offset", "begin"), ("end", "end_offset")
LABEL_KEYS = ("label", "type", "entity_type", "entity", "tag", "labels")


def read_tokens(values: Values) -> Reading:
    tokens = checked_tokens(values["tokens"])
    text, offsets = join_tokens(tokens)
    return Reading({"text": text, "tokens": tokens, "offsets": offsets})


def read_tagged_tokens(values: Values) -> Reading:
    """``{tokens, tags}`` in any of five schemes; ``tags`` of the row are plain BIO."""
    row = read_tokens(values).row
    tags = checked_list(values["tags"], "tags", 'write a list like ["B-PER", "O"]')
    if len(tags) != len(row["tokens"]):
        raise RowError(
            "tags", tags, f"{len(tags)} tags for {len(row['tokens'])} tokens", "write one tag for each token"
        )
    for number, tag in enumerate(tags, 1):
        if not isinstance(tag, str) or parse_tag(tag) is None:
            raise RowError("tags", tag, f"tag {number} is of no known scheme", "write O, or B- I- E- S- and a label")
    spans = spans_of_tags(tags, row["offsets"])
    repaired = openings_without_begin(tags)
    notes = {NO_BEGIN: repaired} if repaired else {}
    return Reading(row | {"tags": tags_of_spans(spans, row["offsets"]), "spans": spans}, notes)


def read_text_with_spans(values: Values) -> Reading:
    """``{text, spans: [{start, end, label}]}``; a span may repeat its ``text``, which must be what stands there."""
    text = checked_text(values["text"])
    spans = in_order(spans_of(text, values["spans"]))
    for left, right in pairwise(spans):
        if right.start < left.end:
            pair = f"{text[left.start : left.end]!r} and {text[right.start : right.end]!r}"
            raise RowError("spans", pair, "two spans overlap", "keep one of them")
    return Reading({"text": text, "spans": spans})


def read_intent_with_tags(values: Values) -> Reading:
    """``{tokens, tags, label}``: an utterance with its slots, and what is meant by it."""
    label, notes = checked_label(values["label"])
    return read_tagged_tokens(values).with_(label=label).noting(*notes)


def read_intent_with_spans(values: Values) -> Reading:
    label, notes = checked_label(values["label"])
    return read_text_with_spans(values).with_(label=label).noting(*notes)


# ------------------------------------------------------------------------------------------------------- single spans
def spans_of(text: str, given: Any, offsets: Offsets | None = None) -> list[Span]:
    """The spans of a list, in its order; counted in characters, or in tokens that stand at ``offsets``."""
    return [span_of(text, one, offsets) for one in checked_list(given, "spans", "write [] where there is none")]


def in_order(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda span: (span.start, span.end)))


def span_of(
    text: str,
    given: Any,
    offsets: Offsets | None = None,
    role: str = "spans",
    label_keys: Sequence[str] = LABEL_KEYS,
    otherwise: str | None = None,
) -> Span:
    """One span: an object, or ``[start, end, label]``. Raises ``RowError``.

    ``otherwise`` is the label of a span that has none.
    """
    one = dict(zip(("start", "end", "label"), given, strict=False)) if isinstance(given, list | tuple) else given
    if not isinstance(one, Mapping):
        raise RowError(role, given, "a span without start, end and label", _FIX)
    try:
        label = _label_of(one, label_keys, otherwise)
        start, end = _bounds_of(one, text, offsets)
        _check_piece(one, text, start, end, offsets is not None)
    except _SpanError as error:
        raise RowError(role, given, *error.args) from None
    return Span(start, end, label)


class _SpanError(Exception):
    """Reason and fix."""


def _label_of(one: Mapping[str, Any], keys: Sequence[str], otherwise: str | None) -> str:
    label = next((one[key] for key in keys if one.get(key) is not None), otherwise)
    if label is None:
        raise _SpanError("a span without start, end and label", _FIX)
    if isinstance(label, list | tuple) and len(label) == 1:  # Label Studio
        label = label[0]
    if not isinstance(label, str) or not label.strip():
        raise _SpanError("the label of a span is empty or no string", _FIX)
    return label


def _bounds_of(one: Mapping[str, Any], text: str, offsets: Offsets | None) -> tuple[int, int]:
    """First character and the one behind the last, also where tokens are counted."""
    start, end = (next((one[key] for key in keys if key in one), None) for keys in (_START, _END))
    if start is None or end is None:
        raise _SpanError("a span without start, end and label", _FIX)
    length, unit = (len(text), "characters") if offsets is None else (len(offsets), "tokens")
    if not (type(start) is type(end) is int and 0 <= start <= end <= length):
        raise _SpanError(f"a span outside the text of {length} {unit}", _FIX)
    if offsets is None:
        return start, end
    if start == end:
        raise _SpanError("a span of no tokens", "end is exclusive: write the place after the last token")
    return offsets[start][0], offsets[end - 1][1]


def _check_piece(one: Mapping[str, Any], text: str, start: int, end: int, in_tokens: bool) -> None:
    piece, said = text[start:end], one.get("text", one.get("word"))
    if isinstance(said, str) and not _same(said, piece, in_tokens):
        way = "write what stands there" if in_tokens else misplaced(text, said)
        raise _SpanError(f"the span says {said!r}, the text there is {piece!r}", way)
    if not piece or piece != piece.strip():
        raise _SpanError(f"a span that is empty or begins or ends in white space: {piece!r}", _FIX)


def _same(said: str, piece: str, in_tokens: bool) -> bool:
    """Where tokens are counted, the spaces between them are not known."""
    return said == piece or (in_tokens and "".join(said.split()) == "".join(piece.split()))


# ------------------------------------------------------------------------------------------------------------- roles
TOKENS_ROLE = Role("tokens", ("tokens", "words", "chars", "分词", "词", "字"))
SPANS_ROLE = Role("spans", ("spans", "entities", "ents", "label", "labels", "实体"), by_elimination=True)
_TAGS = Role("tags", ("tags", "ner_tags", "labels", "slots", "bio", "标签", "标注"), by_elimination=True)
_SLOT_TAGS = Role("tags", ("tags", "slots", "slot_tags", "slot_labels", "bio", "labels", "标注"), by_elimination=True)
_SLOTS = Role("spans", ("spans", "slots", "entities", "ents", "实体", "槽位"), by_elimination=True)
_INTENT = Role("label", ("intent", "intent_label", *LABEL_ROLE.aliases), by_elimination=True)

TOKENS_OR_TEXT = (Shape((TOKENS_ROLE,), read_tokens), *TEXT)
"""Unlabelled input of a tagger: rows ``{text, tokens, offsets}`` or ``{text}``."""

TAGGED = (Shape((TOKENS_ROLE, _TAGS), read_tagged_tokens), Shape((TEXT_ROLE, SPANS_ROLE), read_text_with_spans))
"""Texts with labelled spans: rows ``{text, spans, tokens, offsets, tags}`` or ``{text, spans}``."""

INTENT_SLOTS = (
    Shape((TOKENS_ROLE, _SLOT_TAGS, _INTENT), read_intent_with_tags),
    Shape((TEXT_ROLE, _SLOTS, _INTENT), read_intent_with_spans),
)
"""Utterances with slots and an intent: rows of ``TAGGED`` with a ``label``."""
