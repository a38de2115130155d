"""Checks of single values: what a text, a name, a number, a list must be, and how to mend one that is not."""

import json
import math
from collections.abc import Mapping
from typing import Any

from lathe.core.data.records import RowError

NUMBER_AS_NAME = "labels that were numbers are read as names"
LIST_OF_ONE = "labels that were lists of one are read as that one"
MINUS_ONE = "labels are -1, which in data sets of Hugging Face means that there is none"


def checked_text(text: Any, role: str = "text") -> str:
    """A text that says something. Raises ``RowError``."""
    if text is None:
        raise RowError(role, text, "the text is missing", "write it or delete the row")
    if not isinstance(text, str):
        raise RowError(role, text, f"the text is {type_of(text)}, not a string", "put it into quotes")
    if not text.strip():
        raise RowError(role, text, "the text is empty", "write it or delete the row")
    if "\0" in text:
        raise RowError(role, text, f"a NUL character at position {text.index(chr(0))}", "delete it")
    return text


def checked_tokens(tokens: Any) -> tuple[str, ...]:
    """Tokens none of which is empty. Raises ``RowError``."""
    tokens = checked_list(tokens, "tokens", 'write a list like ["New", "York"]')
    if not tokens:
        raise RowError("tokens", tokens, "there are no tokens", "delete the row")
    for number, token in enumerate(tokens, 1):
        if not isinstance(token, str) or not token or "\0" in token:
            raise RowError("tokens", token, f"token {number} is empty, no string, or holds a NUL", "write a string")
    return tuple(tokens)


def checked_list(value: Any, role: str, fix: str) -> list[Any] | tuple[Any, ...]:
    """A list, which a field of a table holds as JSON. Raises ``RowError``."""
    found = of_json(value)
    if not isinstance(found, list | tuple):
        raise RowError(role, value, f"{type_of(found)}, not a list", fix)
    return found


def of_json(value: Any) -> Any:
    """What a string says that is a list or an object in JSON; anything else as it is."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def checked_label(label: Any, role: str = "label") -> tuple[str, tuple[str, ...]]:
    """A label, which is a name, and notes on how it was read. Raises ``RowError``."""
    if isinstance(label, int):
        notes = (NUMBER_AS_NAME, *[MINUS_ONE] * (label == -1))
        return str(label).lower(), notes  # 1, true
    if isinstance(label, list | tuple) and len(label) == 1 and isinstance(label[0], str):
        return checked_label(label[0], role)[0], (LIST_OF_ONE,)
    if label is None:
        raise RowError(role, label, "the label is missing", "label the row or delete it")
    if not isinstance(label, str):
        raise RowError(role, label, f"the label is {type_of(label)}, not a name", "write one string")
    if not label.strip() or "\0" in label:
        reason = "the label is empty" if "\0" not in label else "the label holds a NUL"
        raise RowError(role, label, reason, "write a name")
    return label, ()


def checked_number(value: Any, role: str) -> float:
    """A finite number. Raises ``RowError``."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RowError(role, value, f"the {role} is missing", "write a number or delete the row")
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None:
        raise RowError(role, value, f"the {role} is {type_of(value)}, not a number", "write a number like 3.5")
    if not math.isfinite(number):
        raise RowError(role, value, f"the {role} is not finite", "write a number or delete the row")
    return number


def texts_of(value: Any, role: str, fix: str) -> tuple[str, ...]:
    """One text or several; each may be an object that holds it as its ``text``, as passages do. Raises ``RowError``."""
    several = value if isinstance(value, list | tuple) else [value]
    if not several:
        raise RowError(role, value, "the list is empty", fix)
    return tuple(checked_text(_text_of(one), role) for one in several)


def misplaced(text: str, piece: str) -> str:
    """What to do about a piece that does not stand where it should.

    >>> misplaced("Paris, France", "France")
    'it stands at 7: write that (characters are counted, from 0)'
    """
    places: list[int] = []
    while len(places) < 4 and (place := text.find(piece, places[-1] + 1 if places else 0)) >= 0:
        places.append(place)
    if not places:
        return "it stands nowhere in the text: write it as it stands there"
    if len(places) == 1:
        return f"it stands at {places[0]}: write that (characters are counted, from 0)"
    return f"it stands at {', '.join(map(str, places[:3]))}{' ...' * (len(places) > 3)}: write the one that is meant"


def type_of(value: Any) -> str:
    """What a value is, in words."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"of type {type(value).__name__}") if value is not None else "null"


def _text_of(passage: Any) -> Any:
    """Passages of Tevatron and DPR have a title, which is no part of the text."""
    if isinstance(passage, Mapping):
        return next((passage[key] for key in ("text", "passage", "content") if key in passage), passage)
    return passage
