"""Rows whose answer stands in a passage, and rows of what is searched for and found."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lathe.core.data.records import RowError
from lathe.core.data.shapes.columns import Reading, Role, Shape, Values
from lathe.core.data.shapes.values import (
    checked_list,
    checked_number,
    checked_text,
    misplaced,
    of_json,
    texts_of,
    type_of,
)

PLACED = "questions with answers without a place, which are read where they stand in their context"
PLACED_FIRST = "questions with answers without a place that stand several times; the first is taken"
_ANSWERS_FIX = 'write {"text": ["Paris"], "answer_start": [7]}, characters from 0; [] where there is no answer'
_STARTS = ("answer_start", "start", "answer_starts")


class Place(NamedTuple):
    """An answer and where it stands in its context, in code points."""

    text: str
    start: int


# --------------------------------------------------------------------------------------------------------- questions
def read_question(values: Values) -> Reading:
    row = {"context": checked_text(values["context"], "context")}
    row["question"] = checked_text(values["question"], "question")
    name = values.get("id")
    return Reading(row if name is None else row | {"id": str(name)})


def read_answered_question(values: Values) -> Reading:
    """``{context, question, answers: ((text, start), ...)}``; no answers where the context has none.

    An answer must stand where it is said to stand: one that is a character off would be learnt a character off.
    """
    reading = read_question(values)
    given = of_json(values["answers"])
    pairs = _pairs(given)
    if _is_impossible(values.get("is_impossible")):
        if pairs:
            raise RowError("answers", given, "answers to a question that is said to have none", "delete one of the two")
        return reading.with_(answers=())
    context = reading.row["context"]
    answers = tuple(_placed(context, text, start) for text, start in pairs)
    places = [context.count(text) for text, start in pairs if start is None]
    return reading.with_(answers=answers).noting(PLACED_FIRST if max(places, default=0) > 1 else PLACED * bool(places))


def _pairs(given: Any) -> list[tuple[str, int | None]]:
    """Texts and starts, however they are written: SQuAD's list, the two lists of Hugging Face, texts alone."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        texts, starts = given.get("text"), next((given[key] for key in _STARTS if key in given), None)
        if isinstance(texts, str):
            return [_pair(texts, starts)]
        if not isinstance(texts, list | tuple) or not isinstance(starts, list | tuple):
            raise RowError("answers", given, "answers without text and answer_start", _ANSWERS_FIX)
        if len(texts) != len(starts):
            raise RowError("answers", given, f"{len(texts)} texts and {len(starts)} starts", _ANSWERS_FIX)
        return [_pair(text, start) for text, start in zip(texts, starts, strict=True)]
    if isinstance(given, str):
        return [_pair(given, None)]
    if not isinstance(given, list | tuple):
        raise RowError("answers", given, f"the answers are {type_of(given)}", _ANSWERS_FIX)
    return [pair for one in given for pair in (_pairs(one) if isinstance(one, Mapping) else [_pair(one, None)])]


def _pair(text: Any, start: Any) -> tuple[str, int | None]:
    if start is not None and type(start) is not int:
        raise RowError("answers", start, f"the start of an answer is {type_of(start)}, no whole number", _ANSWERS_FIX)
    return checked_text(text, "answers"), start


def _placed(context: str, text: str, start: int | None) -> Place:
    if start is None and text in context:
        return Place(text, context.index(text))
    if start is None:
        raise RowError("answers", text, "not in the context", misplaced(context, text))
    if start < 0 or not context.startswith(text, start):
        there = context[max(start, 0) : max(start, 0) + len(text)]
        raise RowError("answers", text, f"at {start} of the context stands {there!r}", misplaced(context, text))
    return Place(text, start)


def _is_impossible(value: Any) -> bool:
    known = {None: False, "": False, "false": False, "0": False, "true": True, "1": True}
    key = value if value is None else str(value).strip().lower()
    if key not in known:
        raise RowError("is_impossible", value, "neither true nor false", "write true or false")
    return known[key]


# --------------------------------------------------------------------------------------------------------- retrieval
def read_retrieved(values: Values) -> Reading:
    """``{query, positives, negatives}``: what is to be found, and, where a file has it, what is not."""
    query = checked_text(values["query"], "query")
    positives = texts_of(values["positive"], "positive", "write one text, or a list of texts")
    given = values.get("negatives")
    negatives = texts_of(given, "negatives", "write a list") if given not in (None, "", [], ()) else ()
    if both := next((text for text in negatives if text in positives), None):
        raise RowError("negatives", both, "the same text is to be found and not to be found", "delete it from one")
    return Reading({"query": query, "positives": positives, "negatives": negatives})


def read_query(values: Values) -> Reading:
    return Reading({"query": checked_text(values["query"], "query")})


def read_candidates(values: Values) -> Reading:
    """``{query, candidates}``: what is to be put in order."""
    candidates = texts_of(values["candidates"], "candidates", "write a list of texts")
    if twice := next((text for text in candidates if candidates.count(text) > 1), None):
        raise RowError("candidates", twice, "a candidate stands twice", "keep one of them")
    return read_query(values).with_(candidates=candidates)


def read_document(values: Values) -> Reading:
    """``{text}``, with ``id`` where there is one; a title becomes the first line of its text."""
    text, title, name = checked_text(values["text"]), values.get("title"), values.get("id")
    if isinstance(title, str) and title.strip() and not text.startswith(title):
        text = f"{title}\n{text}"
    return Reading({"text": text} if name is None else {"text": text, "id": str(name)})


# ---------------------------------------------------------------------------------------------------- recommendation
def read_history(values: Values) -> Reading:
    """``{history}``: names, or texts, of the items of a user in the order in which they were taken."""
    items = checked_list(values["history"], "history", 'write a list like ["book 7", "book 3"]')
    if not items:
        raise RowError("history", items, "there are no items", "delete the row")
    row: dict[str, Any] = {"history": tuple(_name(item, "history") for item in items)}
    return Reading(row if values.get("user") is None else row | {"user": _name(values["user"], "user")})


def read_next_item(values: Values) -> Reading:
    """The same with ``item``, the one that was taken next."""
    return read_history(values).with_(item=_name(values["item"], "item"))


def read_interaction(values: Values) -> Reading:
    """One thing that a user took; what it is called, when it was and how it was liked are optional."""
    row: dict[str, Any] = {role: _name(values[role], role) for role in ("user", "item")}
    if values.get("text") is not None:
        row["text"] = checked_text(values["text"])
    row |= {role: checked_number(values[role], role) for role in ("time", "score") if role in values}
    return Reading(row)


def _name(value: Any, role: str) -> str:
    """An item or a user: a number, a name or a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or not isinstance(value, str):
        raise RowError(role, value, f"{type_of(value)}, no name", "write a name or a whole number")
    return checked_text(value, role)


# ------------------------------------------------------------------------------------------------------------- roles
_CONTEXT = Role("context", ("context", "passage", "paragraph", "document", "article", "text", "文章", "段落", "上下文"))
_QUESTION = Role("question", ("question", "query", "问题"))
_ANSWERS = Role("answers", ("answers", "answer", "答案"), by_elimination=True)
_IMPOSSIBLE = Role("is_impossible", ("is_impossible", "impossible"), is_optional=True)
_ID = Role("id", ("id", "qid", "question_id", "query_id"), is_optional=True)
_QUERY = Role("query", ("query", "anchor", "question", "sentence1", "text_a", "q", "查询", "问题"))
_POSITIVE = Role(
    "positive",
    ("positives", "positive", "pos", "positive_passages", "positive_ctxs", "passage", "answer", "document", "context",
     "sentence2", "text_b", "text"),
    by_elimination=True,
)  # fmt: skip
_NEGATIVES = Role(
    "negatives",
    ("negatives", "negative", "neg", "hard_negatives", "hard_negative", "negative_passages", "hard_negative_ctxs",
     "negative_ctxs"),
    is_optional=True,
)  # fmt: skip
_CANDIDATES = Role("candidates", ("candidates", "texts", "documents", "passages", "choices", "options", "候选"))
_TEXT = Role(
    "text",
    ("text", "contents", "content", "passage", "document", "body", "正文", "文本", "title", "标题"),
    by_elimination=True,
)
_HEADING = Role("title", ("title", "name", "标题"), is_optional=True)
_NAME = _ID._replace(aliases=("id", "_id", "doc_id", "docid", "pid", "item_id", "item"))
_HISTORY = Role("history", ("history", "user_history", "items", "item_ids", "sequence", "clicked", "历史"))
_ITEM = Role("item", ("item", "next_item", "item_id", "movie_id", "product_id", "asin", "next", "candidate", "target"))
_USER = Role("user", ("user", "user_id", "uid", "userid", "reviewerid", "用户"))
_TITLE = Role("text", ("text", "title", "name", "description", "标题"), is_optional=True)
_TIME = Role("time", ("time", "timestamp", "unixreviewtime", "时间"), is_optional=True)
_RATING = Role("score", ("rating", "score", "stars", "weight", "overall", "评分"), is_optional=True)

QUESTION = (Shape((_CONTEXT, _QUESTION, _ID), read_question),)
"""Questions about a passage: rows ``{context, question}``, with ``id`` where there is one."""

ANSWERED = (Shape((_CONTEXT, _QUESTION, _ANSWERS, _IMPOSSIBLE, _ID), read_answered_question),)
"""The same with ``answers``, each a text and its start; none where the passage does not answer."""

RETRIEVED = (Shape((_QUERY, _POSITIVE, _NEGATIVES), read_retrieved),)
"""Queries and what is to be found: rows ``{query, positives, negatives}``; unlabelled ones are ``TEXT``."""

QUERY = (Shape((_QUERY,), read_query),)
"""What is searched for: rows ``{query}``."""

CANDIDATES = (Shape((_QUERY, _CANDIDATES), read_candidates),)
"""A query and what is to be put in order: rows ``{query, candidates}``."""

COLLECTION = (Shape((_TEXT, _HEADING, _NAME), read_document),)
"""What is searched: rows ``{text}``, with ``id`` where there is one."""

TOOK = (Shape((_HISTORY, _USER._replace(is_optional=True)), read_history),)
"""What users took: rows ``{history}``, with ``user`` where there is one."""

HISTORY = (Shape((_HISTORY, _ITEM, _USER._replace(is_optional=True)), read_next_item),)
"""The same with the ``item`` that was taken next."""

INTERACTED = (Shape((_USER, _ITEM, _TITLE, _TIME, _RATING), read_interaction),)
"""One row for each item that a user took: ``{user, item}``, with ``text``, ``time`` and ``score`` where there are."""
