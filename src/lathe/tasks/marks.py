"""Spans of a text shown to a model: marks around each, with its type, among the pieces of the text.

The marks are signs that the vocabulary has, as in ``@ * person * Bill @ was born in # * city * Seattle #``: tokenizer
and model stay as they are, whatever part of it is trained (Zhou and Chen, 2022, *An Improved Baseline for
Sentence-level Relation Extraction*: the "typed entity marker (punct)", no worse than special tokens of its own). Where
the marks stand is known, so that a text that holds such signs itself marks nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

from lathe.core.errors import RecipeError
from lathe.core.predictions import Span
from lathe.tasks.encoding import Tokens, without_surrogates

SIGNS = "@#*^~|+=&%$<>[]{}()/:;\"'《》【】「」（）：；"  # noqa: RUF001 - signs of Chinese texts
"""The first three of these that a vocabulary has are its marks."""

Ids: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Marks:
    """What stands around a span: a sign, its type between two signs of another kind, and behind it the first again."""

    outer: tuple[Ids, Ids]  # of the first span and of the second
    inner: Ids
    types: Mapping[str, Ids]

    @classmethod
    def of(cls, tokenizer: Any, types: Iterable[str]) -> Self:
        """Raises ``RecipeError`` for a vocabulary without signs."""

        def ids(text: str) -> Ids:
            options = {"add_special_tokens": False, "split_special_tokens": True}  # a type may have any name
            return tuple(tokenizer(without_surrogates(text), **options)["input_ids"])

        known = [found for sign in SIGNS if (found := ids(sign)) and tokenizer.unk_token_id not in found]
        if len(known) < 3:
            raise RecipeError(
                f"the tokenizer has fewer than three of the signs {SIGNS}, which mark what is asked about; take "
                "another base, or train a tokenizer on text that holds them"
            )
        return cls((known[0], known[1]), known[2], {name: ids(name) for name in sorted(set(types))})

    def before(self, number: int, span: Span) -> Ids:
        """What stands before the first span, 0, or the second, 1."""
        return (*self.outer[number], *self.inner, *self.types[span.label], *self.inner)


class Marked(NamedTuple):
    """A stretch of a text with marks in it."""

    input_ids: list[int]
    places: Mapping[int, int]  # piece of the text -> where it stands here
    ends: list[int]  # where the mark behind each span ends: also a model that reads to the right has seen the span


def mark(tokens: Tokens, spans: Sequence[Span], marks: Marks, max_length: int | None) -> Marked | None:
    """At most ``max_length`` pieces around one span or two; None where they do not fit, or a span has no piece."""
    pieces = [pieces_of(span, tokens) for span in spans]
    if not all(pieces):
        return None
    opening = [marks.before(number, span) for number, span in enumerate(spans)]
    special = tokens.before + tokens.after
    extra = special + sum(map(len, opening)) + sum(len(marks.outer[number]) for number in range(len(spans)))
    text = len(tokens.input_ids) - special
    room = text if max_length is None else min(text, max_length - extra)
    first, last = min(found[0] for found in pieces), max(found[-1] for found in pieces) + 1
    if last - first > room:
        return None
    start = tokens.before + min(max((first + last - room) // 2 - tokens.before, 0), text - room)
    around: defaultdict[int, list[tuple[int, int, Ids]]] = defaultdict(list)  # piece -> what stands before it
    for number, found in enumerate(pieces):
        around[found[0]].append((1, number, opening[number]))
        around[found[-1] + 1].append((0, number, marks.outer[number]))  # a span ends before another begins
    return _spliced(tokens, range(start, start + room), around)


def pieces_of(span: Span, tokens: Tokens) -> Sequence[int]:
    """The pieces that a span overlaps, in order."""
    return [i for i, (start, end) in enumerate(tokens.offsets) if start < end and start < span.end and span.start < end]


def _spliced(tokens: Tokens, stretch: range, around: Mapping[int, list[tuple[int, int, Ids]]]) -> Marked:
    ids = list(tokens.input_ids[: tokens.before])
    places: dict[int, int] = {}
    ends: dict[int, int] = {}
    for piece in range(stretch.start, stretch.stop + 1):
        for opens, number, sign in sorted(around.get(piece, ())):
            ids += sign
            if not opens:
                ends[number] = len(ids) - 1
        if piece < stretch.stop:
            places[piece] = len(ids)
            ids.append(tokens.input_ids[piece])
    ids += tokens.input_ids[len(tokens.input_ids) - tokens.after :]
    return Marked(ids, places, [ends[number] for number in sorted(ends)])
