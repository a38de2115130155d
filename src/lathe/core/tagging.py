"""Tokens and tags against text and spans: the one place where the two ways to write an annotated sentence meet.

A span is ``(start, end, label)`` in code points of the text, end exclusive; an offset is ``(start, end)`` of a token.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from lathe.core.predictions import Span

Offsets: TypeAlias = tuple[tuple[int, int], ...]
"""Where each token stands in the text; ascending, not overlapping."""

_CJK = re.compile(
    "[\u00b7\u2014\u2018\u2019\u201c\u201d\u2026"  # punctuation that Chinese shares with other scripts
    "\u2e80-\u2fdf\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    "\U00020000-\U0003ffff]"
)

_PREFIX = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}  # IOB1, BIO, BIOES, BMES and BILOU


class Tag(NamedTuple):
    """One tag, taken apart: ``B-PER`` is ``("B", "PER")``, outside is ``("O", "")``."""

    prefix: str
    label: str


_OUTSIDE = Tag("O", "")


def join_tokens(tokens: Sequence[str]) -> tuple[str, Offsets]:
    """The tokens as one text, with a space between two of them unless CJK characters meet, and where each one stands.

    >>> join_tokens(["Visit", "北", "京", "!"])
    ('Visit 北京 !', ((0, 5), (6, 7), (7, 8), (9, 10)))
    """
    pieces: list[str] = []
    offsets: list[tuple[int, int]] = []
    position = 0
    for token in tokens:
        if pieces and not (_is_cjk(pieces[-1][-1:]) and _is_cjk(token[:1])):
            pieces.append(" ")
            position += 1
        pieces.append(token)
        offsets.append((position, position + len(token)))
        position += len(token)
    return "".join(pieces), tuple(offsets)


def parse_tag(tag: str) -> Tag | None:
    """The parts of a tag of IOB1, BIO, BIOES, BMES or BILOU; nothing if it is none of these.

    >>> parse_tag("U-LOC"), parse_tag("O"), parse_tag("NNP")
    (Tag(prefix='S', label='LOC'), Tag(prefix='O', label=''), None)
    """
    if tag == "O":
        return _OUTSIDE
    prefix, dash, label = tag.partition("-")
    return Tag(_PREFIX[prefix], label) if dash and label and prefix in _PREFIX else None


def spans_of_tags(tags: Sequence[str], offsets: Offsets) -> tuple[Span, ...]:
    """The entities that a sequence of tags marks, as spans of the text.

    Sequences that break the rules of their scheme are read as ``conlleval`` reads them (Tjong Kim Sang, 2000; also the
    default mode of seqeval): an inside tag that follows nothing of its own label opens an entity. So IOB1, where this
    is the rule, needs no conversion. A tag of no known scheme counts as outside.

    >>> spans_of_tags(["B-PER", "I-PER", "I-LOC", "O"], ((0, 3), (4, 8), (9, 12), (13, 14)))
    (Span(start=0, end=8, label='PER', score=None), Span(start=9, end=12, label='LOC', score=None))
    """
    groups = _entities(_parsed(tags))
    return tuple(Span(offsets[first][0], offsets[last][1], label) for first, last, label in groups)


def tags_of_spans(spans: Sequence[Span], offsets: Offsets) -> tuple[str, ...]:
    """One BIO tag for each token: a token belongs to the first span that overlaps it.

    >>> tags_of_spans([Span(0, 8, "PER")], ((0, 3), (4, 8), (9, 12)))
    ('B-PER', 'I-PER', 'O')
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    tags: list[str] = []
    current, opened = 0, -1  # the first span that may still overlap; the last span that has its B
    for start, end in offsets:
        while current < len(ordered) and ordered[current].end <= start:
            current += 1
        if current == len(ordered) or ordered[current].start >= end:
            tags.append("O")
            continue
        tags.append(("I-" if current == opened else "B-") + ordered[current].label)
        opened = current
    return tuple(tags)


def openings_without_begin(tags: Sequence[str]) -> int:
    """How many entities open with an inside or end tag: many mean IOB1, a few mean slips of the annotators."""
    parsed = _parsed(tags)
    return sum(parsed[first].prefix in "IE" for first, _, _ in _entities(parsed))


def _parsed(tags: Sequence[str]) -> list[Tag]:
    parts = {tag: parse_tag(tag) or _OUTSIDE for tag in set(tags)}
    return [parts[tag] for tag in tags]


def _entities(tags: Sequence[Tag]) -> Iterator[tuple[int, int, str]]:
    """First token, last token and label of each entity."""
    first, before = -1, _OUTSIDE
    for position, tag in enumerate([*tags, _OUTSIDE]):
        goes_on = tag.prefix in "IE" and before.prefix in "BI" and tag.label == before.label
        if first >= 0 and not goes_on:
            yield first, position - 1, before.label
            first = -1
        if first < 0 and tag.prefix != "O":
            first = position
        before = tag


def _is_cjk(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff" or (character >= "\u00b7" and _CJK.match(character) is not None)
