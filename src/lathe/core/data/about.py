"""What a row is about, and what it answers: by this rows of any shape are compared, within a file and between two."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from lathe.core.data.shapes import Message
from lathe.core.types import Row

ASKED = ("text", "text_pair", "context", "question", "choices", "source", "query", "history", "user", "pairs")
"""What a row gives; of a conversation all but its last turn, if that is the assistant's."""

ANSWERS = ("label", "labels", "score", "spans", "relations", "events", "answers", "targets", "positives", "item")
"""What is to be made of it. Where nothing leads up to an item, the item is what a row is about."""


def asked(row: Row) -> dict[str, Any]:
    """The parts of a row that a model is given.

    >>> asked({"text": "a film", "label": "good"})
    {'text': 'a film'}
    """
    names = ASKED if "history" in row else (*ASKED, "item")
    found = {name: row[name] for name in names if name in row}
    return found | ({"messages": _turns(row["messages"])[0]} if "messages" in row else {})


def answered(row: Row) -> dict[str, Any]:
    """The parts of a row that a model is to give; the order of several equally right ones does not count."""
    found = {name: row[name] for name in ANSWERS if name in row and (name != "item" or "history" in row)}
    if found.keys() & {"relations", "events"}:
        found.pop("spans", None)  # given, or told by the events
    if "messages" in row and (last := _turns(row["messages"])[1]):
        found["messages"] = last
    return {name: value if isinstance(value, str | float | int) else frozenset(value) for name, value in found.items()}


def texts_in(row: Row) -> dict[str, list[str]]:
    """The texts of each column of a row: what is asked, then what is answered in words."""
    named = asked(row) | {name: row[name] for name in ("targets", "positives", "negatives") if name in row}
    named |= {"answers": [one.text for one in row["answers"]]} if "answers" in row else {}
    named |= {"messages": [message.content for message in row["messages"]]} if "messages" in row else {}
    named = {name: value for name, value in named.items() if name not in ("pairs", "user")}
    return {name: [value] if isinstance(value, str) else list(value) for name, value in named.items()}


def same(text: str) -> str:
    """Equal for texts that a reader would call equal.

    >>> same("Ａ  Film ") == same("a film")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def about(row: Row) -> tuple[str, ...]:
    """Equal for rows that ask the same: texts that differ in case, width or spaces only are one."""
    return tuple(part for name, value in asked(row).items() for part in (name, *_parts(value)))


def wording(row: Row) -> str:
    """All that a row asks as one text, as a reader would call it equal."""
    return same(" ".join(text for name, texts in texts_in(row).items() if name in asked(row) for text in texts))


def shared(rows: Sequence[Row], others: Sequence[Row]) -> list[tuple[int, int]]:
    """Those of ``others`` that ask what one of ``rows`` asks: (place, that of the first such row)."""
    wanted = {about(row) for row in others}
    first: dict[tuple[str, ...], int] = {}
    for place, row in enumerate(rows):
        if (key := about(row)) in wanted:
            first.setdefault(key, place)
    return [(place, first[key]) for place, row in enumerate(others) if (key := about(row)) in first]


def _turns(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], str]:
    """What was said, and the answer that the assistant gave last."""
    last = messages[-1]
    return (messages[:-1], last.content) if last.role == "assistant" else (messages, "")


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield same(value)
    elif isinstance(value, tuple):
        for one in value:
            yield from _parts(one)
        yield f"/{len(value)}"
    else:
        yield repr(value)
