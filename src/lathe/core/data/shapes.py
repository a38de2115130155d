"""What a task wants of a row: which columns, under which names they usually go, and what a good row holds.

A ``Shape`` is a value: roles to find among the columns, and a function that reads one row or raises
``RowError``. A task with rows of a new shape defines one beside itself; nothing here needs to know of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from lathe.core.data.records import RowError
from lathe.core.errors import DataError, did_you_mean
from lathe.core.predictions import Span
from lathe.core.recipe import recipe
from lathe.core.tagging import join_tokens, openings_without_begin, parse_tag, spans_of_tags, tags_of_spans


@recipe
class Columns:
    """Names of columns, where they are not to be found by themselves."""

    text: str | None = None
    """Column that holds the text."""
    label: str | None = None
    """Column that holds the label."""
    tokens: str | None = None
    """Column that holds the list of tokens."""
    tags: str | None = None
    """Column that holds one tag for each token."""
    spans: str | None = None
    """Column that holds the labelled spans of the text."""


class Role(NamedTuple):
    """The part a column plays."""

    name: str  # the key in the rows of a table, and the option in ``Columns``
    aliases: tuple[str, ...]  # names it goes by, likeliest first
    by_elimination: bool = False  # may be the one column that is left over


Values: TypeAlias = Mapping[str, Any]
"""The values of one row under the names of their roles."""


class Reading(NamedTuple):
    """One good row, and how often something had to be read in a particular way."""

    row: dict[str, Any]
    notes: Mapping[str, int] = {}


class Shape(NamedTuple):
    roles: tuple[Role, ...]
    read: Callable[[Values], Reading]


# ----------------------------------------------------------------------------------------------------- finding columns
_NEVER_BY_ELIMINATION = {"id", "idx", "index", "guid", "uid", "uuid", "key", "no", "编号", "序号", ""}


def find_columns(names: Sequence[str], shapes: Sequence[Shape], given: Columns) -> tuple[Shape, dict[str, str]]:
    """The first shape whose roles are all played by one of the columns, and which column plays which.

    Raises ``DataError`` with the columns there are and the option to set.
    """
    lacking: list[str] = []
    for shape in _fitting(shapes, given):
        found, missing = _cast(names, shape.roles, given)
        if not missing:
            return shape, found
        lacking.append(" and ".join(role.name for role in missing))
    columns, role = ", ".join(map(repr, names)), lacking[0].partition(" ")[0]
    raise DataError(
        f"no column for {', nor for '.join(lacking)}; the columns are {columns}; set data.columns.{role}=NAME"
    )


def _fitting(shapes: Sequence[Shape], given: Columns) -> list[Shape]:
    """The shapes that have a part for every column that the user named."""
    named = {field.name for field in fields(given) if getattr(given, field.name) is not None}
    fitting = [shape for shape in shapes if named <= {role.name for role in shape.roles}]
    if not fitting:
        parts = " or ".join("+".join(role.name for role in shape.roles) for shape in shapes)
        raise DataError(f"data.columns names {', '.join(sorted(named))}; what is read here has {parts}: name those")
    return fitting


def _cast(names: Sequence[str], roles: Sequence[Role], given: Columns) -> tuple[dict[str, str], list[Role]]:
    """Column of each role, as the user says, else by its usual names, else the one left over; and roles without one."""
    found = {role.name: name for role in roles if (name := getattr(given, role.name)) is not None}
    for option, name in found.items():
        if name not in names:
            hint, columns = did_you_mean(name, names), ", ".join(map(repr, names))
            raise DataError(f"data.columns.{option}: no column {name!r}{hint}; the columns are {columns}")
    folded = {name.strip().casefold(): name for name in reversed(names)}
    for role in roles:
        free = {alias: name for alias, name in folded.items() if name not in found.values()}
        if role.name not in found and (alias := next((a for a in role.aliases if a in free), None)):
            found[role.name] = free[alias]
    missing = [role for role in roles if role.name not in found]
    left = [name for key, name in folded.items() if name not in found.values() and key not in _NEVER_BY_ELIMINATION]
    if len(missing) == len(left) == 1 and missing[0].by_elimination:
        found[missing.pop().name] = left[0]
    return {role.name: found[role.name] for role in roles if role.name in found}, missing


# ------------------------------------------------------------------------------------------------------- reading rows
def read_text(values: Values) -> Reading:
    return Reading({"text": checked_text(values["text"])})


def read_labelled_text(values: Values) -> Reading:
    """``{text, label}``; numbers and truth values become names, since a label is a name."""
    label = values["label"]
    notes = {"labels that were numbers are read as names": 1} if isinstance(label, int) else {}
    if isinstance(label, int):
        label = str(label).lower()  # 1, true
    if label is None:
        raise RowError("label", label, "the label is missing", "label the row or delete it")
    if not isinstance(label, str):
        raise RowError("label", label, f"the label is {_type(label)}, not a name", "write one string")
    if not label.strip() or "\0" in label:
        raise RowError(
            "label", label, "the label is empty" if "\0" not in label else "the label holds a NUL", "write a name"
        )
    return Reading({"text": checked_text(values["text"]), "label": label}, notes)


def read_tokens(values: Values) -> Reading:
    tokens = checked_tokens(values["tokens"])
    text, offsets = join_tokens(tokens)
    return Reading({"text": text, "tokens": tokens, "offsets": offsets})


_NO_BEGIN = "entities that open without a B- tag (IOB1, or slips) are read as conlleval reads them"


def read_tagged_tokens(values: Values) -> Reading:
    """``{tokens, tags}`` in any of five schemes; ``tags`` of the row are plain BIO."""
    row = read_tokens(values).row
    tags = values["tags"]
    if not isinstance(tags, list | tuple):
        raise RowError("tags", tags, f"the tags are {_type(tags)}, not a list", 'write a list like ["B-PER", "O"]')
    if len(tags) != len(row["tokens"]):
        raise RowError(
            "tags", tags, f"{len(tags)} tags for {len(row['tokens'])} tokens", "write one tag for each token"
        )
    for number, tag in enumerate(tags, 1):
        if not isinstance(tag, str) or parse_tag(tag) is None:
            raise RowError("tags", tag, f"tag {number} is of no known scheme", "write O, or B- I- E- S- and a label")
    spans = spans_of_tags(tags, row["offsets"])
    repaired = openings_without_begin(tags)
    notes = {_NO_BEGIN: repaired} if repaired else {}
    return Reading(row | {"tags": tags_of_spans(spans, row["offsets"]), "spans": spans}, notes)


def read_text_with_spans(values: Values) -> Reading:
    """``{text, spans: [{start, end, label}]}``; a span may repeat its ``text``, which must be what stands there."""
    text, given = checked_text(values["text"]), values["spans"]
    if not isinstance(given, list | tuple):
        raise RowError("spans", given, f"the spans are {_type(given)}, not a list", "write [] where there is none")
    spans = tuple(sorted((_span(text, one) for one in given), key=lambda span: (span.start, span.end)))
    for left, right in pairwise(spans):
        if right.start < left.end:
            pair = f"{text[left.start : left.end]!r} and {text[right.start : right.end]!r}"
            raise RowError("spans", pair, "two spans overlap", "keep one of them")
    return Reading({"text": text, "spans": spans})


def checked_text(text: Any, role: str = "text") -> str:
    """A text that says something. Raises ``RowError``."""
    if text is None:
        raise RowError(role, text, "the text is missing", "write it or delete the row")
    if not isinstance(text, str):
        raise RowError(role, text, f"the text is {_type(text)}, not a string", "put it into quotes")
    if not text.strip():
        raise RowError(role, text, "the text is empty", "write it or delete the row")
    if "\0" in text:
        raise RowError(role, text, f"a NUL character at position {text.index(chr(0))}", "delete it")
    return text


def checked_tokens(tokens: Any) -> tuple[str, ...]:
    """Tokens none of which is empty. Raises ``RowError``."""
    if not isinstance(tokens, list | tuple):
        raise RowError(
            "tokens", tokens, f"the tokens are {_type(tokens)}, not a list", 'write a list like ["New", "York"]'
        )
    if not tokens:
        raise RowError("tokens", tokens, "there are no tokens", "delete the row")
    for number, token in enumerate(tokens, 1):
        if not isinstance(token, str) or not token or "\0" in token:
            raise RowError("tokens", token, f"token {number} is empty, no string, or holds a NUL", "write a string")
    return tuple(tokens)


def _span(text: str, span: Any) -> Span:
    fix = 'write {"start": 0, "end": 4, "label": "PER"}: characters from 0, end exclusive'
    if not isinstance(span, Mapping) or not {"start", "end", "label"} <= span.keys():
        raise RowError("spans", span, "a span without start, end and label", fix)
    start, end, label = span["start"], span["end"], span["label"]
    if not isinstance(label, str) or not label.strip():
        raise RowError("spans", span, "the label of a span is empty or no string", fix)
    if not (type(start) is type(end) is int and 0 <= start <= end <= len(text)):
        raise RowError("spans", span, f"a span outside the text of {len(text)} characters", fix)
    piece = text[start:end]
    if not piece or piece != piece.strip():
        raise RowError("spans", span, f"a span that is empty or begins or ends in white space: {piece!r}", fix)
    if span.get("text", piece) != piece:
        raise RowError("spans", span, f"the span says {span['text']!r}, the text there is {piece!r}", fix)
    return Span(start, end, label)


def _type(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"of type {type(value).__name__}") if value is not None else "null"


_TEXT = Role(
    "text",
    ("text", "sentence", "content", "review", "document", "utterance", "query", "comment", "message", "body", "sms",
     "tweet", "文本", "内容", "句子", "评论", "正文", "语句", "短信", "question", "title", "标题"),
    by_elimination=True,
)  # fmt: skip
_LABEL = Role(
    "label",
    ("label", "labels", "category", "class", "target", "intent", "sentiment", "topic", "标签", "类别", "分类", "标注",
     "情感", "意图"),
    by_elimination=True,
)  # fmt: skip
_TOKENS = Role("tokens", ("tokens", "words", "chars", "分词", "词", "字"))
_TAGS = Role("tags", ("tags", "ner_tags", "labels", "slots", "bio", "标签", "标注"), by_elimination=True)
_SPANS = Role("spans", ("spans", "entities", "ents", "label", "labels", "实体"), by_elimination=True)

TEXT = (Shape((_TEXT,), read_text),)
"""Unlabelled texts: rows ``{text}``."""

LABELLED = (Shape((_TEXT, _LABEL), read_labelled_text),)
"""Texts with one label each: rows ``{text, label}``."""

TOKENS_OR_TEXT = (Shape((_TOKENS,), read_tokens), *TEXT)
"""Unlabelled input of a tagger: rows ``{text, tokens, offsets}`` or ``{text}``."""

TAGGED = (Shape((_TOKENS, _TAGS), read_tagged_tokens), Shape((_TEXT, _SPANS), read_text_with_spans))
"""Texts with labelled spans: rows ``{text, spans, tokens, offsets, tags}`` or ``{text, spans}``."""
