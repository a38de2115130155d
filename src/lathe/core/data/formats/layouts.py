"""Rows of published data sets that have to be taken apart, or put together, before their columns can be found by name.

Each layout is known by the columns it has and others do not. One row may become several, such as the questions about
one passage.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from lathe.core.data.records import Bad, Record, RowError

Row: TypeAlias = Mapping[str, Any]


class Layout(NamedTuple):
    columns: frozenset[str]  # a row has at least these
    nested: str | None  # this one holds an object
    rows: Callable[[Row], Iterable[dict[str, Any]]]

    def fits(self, row: Row) -> bool:
        return self.nested is None or isinstance(row[self.nested], Mapping)


def unfolded(path: str, records: Iterable[Record | Bad]) -> Iterator[Record | Bad]:
    """The rows of a file, those of known layouts as rows of columns."""
    for record in records:
        layout = _layout_of(tuple(record.row)) if isinstance(record, Record) else None
        if isinstance(record, Bad) or layout is None or not layout.fits(record.row):
            yield record
            continue
        try:
            yield from (Record(record.line, row, record.offset) for row in layout.rows(record.row))
        except RowError as error:
            yield error.at(path, record.line, record.offset)


@cache
def _layout_of(names: tuple[str, ...]) -> Layout | None:
    return next((layout for layout in _LAYOUTS if layout.columns <= set(names)), None)


def but(row: Row, *names: str) -> dict[str, Any]:
    """The row without some of its columns."""
    return {name: value for name, value in row.items() if name not in names}


# ------------------------------------------------------------------------------------------------------- translation
def _translation(row: Row) -> Iterator[dict[str, Any]]:
    """A column for each language: ``data.columns.source`` and ``target`` name them."""
    yield {**but(row, "translation"), **row["translation"]}


# ----------------------------------------------------------------------------------------------------------- choices
_COPA = {"cause": "What was the CAUSE of this?", "effect": "What happened as a RESULT of this?"}


def _copa(row: Row) -> Iterator[dict[str, Any]]:
    question = _COPA.get(row["question"], row["question"])
    rest = but(row, "premise", "choice1", "choice2", "question")
    yield {"context": row["premise"], "question": question, "choices": [row["choice1"], row["choice2"]], **rest}


def _endings(row: Row) -> Iterator[dict[str, Any]]:
    """SWAG: the beginning is one text in some copies, two parts in others."""
    names = [f"ending{number}" for number in range(4)]
    context = row.get("startphrase") or " ".join(filter(None, (row.get("sent1"), row.get("sent2"))))
    yield {"context": context, "choices": [row[name] for name in names], **but(row, "startphrase", *names)}


def _winogrande(row: Row) -> Iterator[dict[str, Any]]:
    """Choices count from 1; a test row has an empty answer."""
    answer = row.get("answer", "")
    rest = but(row, "option1", "option2", "answer")
    label = {"label": int(answer) - 1} if answer in ("1", "2") else {"label": answer}
    yield {**rest, "choices": [row["option1"], row["option2"]], **label}


def _lettered(row: Row) -> Iterator[dict[str, Any]]:
    """C-Eval and MMLU."""
    names = [name for name in "ABCDE" if row.get(name) not in (None, "")]
    yield {**but(row, *"ABCDE"), "choices": [row[name] for name in names]}


def _stem(row: Row) -> Iterator[dict[str, Any]]:
    """ARC and CommonsenseQA as they were published: the choices stand within the question."""
    question = row["question"]
    yield {**row, "question": question.get("stem"), "choices": question.get("choices")}


# ---------------------------------------------------------------------------------------------------------- passages
def _multirc(row: Row) -> Iterator[dict[str, Any]]:
    """A pair for each answer: the passage, and the question with the answer behind it."""
    passage = row["passage"]
    for question in _objects(passage.get("questions"), "passage", ("question", "answers")):
        for answer in _objects(question["answers"], "passage", ("text",)):
            pair = f"{question['question']} {answer['text']}"
            label = {"label": answer["label"]} if "label" in answer else {}
            yield {**but(row, "passage"), "text": passage.get("text"), "text_pair": pair, **label}


def _record(row: Row) -> Iterator[dict[str, Any]]:
    """ReCoRD: a question whose ``@placeholder`` is an entity of the passage."""
    for question in _objects(row["qas"], "qas", ("query",)):
        rest = but(question, "query", "idx")
        yield {"id": question.get("idx"), "context": row["passage"].get("text"), "question": question["query"], **rest}


def _objects(value: Any, field: str, names: tuple[str, ...]) -> list[Row]:
    """A list of objects that have these keys. Raises ``RowError``."""
    if isinstance(value, list) and all(isinstance(one, Mapping) and set(names) <= one.keys() for one in value):
        return value
    raise RowError(field, value, f"no list of objects with {' and '.join(names)}", "write it as it was published")


def _winograd(row: Row) -> Iterator[dict[str, Any]]:
    """WSC and CLUEWSC: is what two spans mean the same? Offsets of CLUEWSC are characters, those of WSC words."""
    text, target = str(row["text"]), row["target"]
    pair = {"head": _winograd_span(text, target, "span1"), "tail": _winograd_span(text, target, "span2")}
    yield {**but(row, "target"), **pair}


def _winograd_span(text: str, target: Row, name: str) -> dict[str, Any]:
    piece, index = target.get(f"{name}_text"), target.get(f"{name}_index")
    if not isinstance(piece, str) or type(index) is not int or index < 0:
        raise RowError("target", target, f"no {name}_text with its {name}_index", "write both")
    if not text.startswith(piece, index):
        words = text.split(" ")
        index = text.find(piece, len(" ".join(words[:index])))
    return {"start": index, "end": index + len(piece), "text": piece, "label": name}


# --------------------------------------------------------------------------------------------------------------- CLUE
def _cluener(row: Row) -> Iterator[dict[str, Any]]:
    """CLUENER: label -> text -> places, whose ends are inclusive."""
    try:
        spans = [
            {"start": start, "end": end + 1, "label": label, "text": text}
            for label, texts in row["label"].items()
            for text, places in texts.items()
            for start, end in places
        ]
    except (AttributeError, TypeError, ValueError):
        fix = 'write {"name": {"叶老桂": [[9, 11]]}}, as CLUENER has it, or one name'
        raise RowError("label", row["label"], "an object that is no labels", fix) from None
    yield {**but(row, "label"), "spans": spans}


def _csl(row: Row) -> Iterator[dict[str, Any]]:
    """CSL: do these keywords belong to the abstract?"""
    keywords = row["keyword"]
    pair = "、".join(map(str, keywords)) if isinstance(keywords, list) else keywords
    yield {**but(row, "abst", "keyword"), "text": row["abst"], "text_pair": pair}


# --------------------------------------------------------------------------------------------------------- retrieval
def _numbered_negatives(row: Row) -> Iterator[dict[str, Any]]:
    """sentence-transformers writes several negatives in columns."""
    names = [name for name in row if name.startswith("negative_") and name[9:].isdecimal()]
    given = [row[name] for name in names if row[name] not in (None, "")]
    yield {**but(row, *names), "negatives": given}


_LAYOUTS = tuple(
    Layout(frozenset(columns.split()), nested, rows)
    for columns, nested, rows in (
        ("translation", "translation", _translation),
        ("premise choice1 choice2 question", None, _copa),
        ("ending0 ending1 ending2 ending3", None, _endings),
        ("sentence option1 option2", None, _winogrande),
        ("question A B C D", None, _lettered),
        ("passage qas", "passage", _record),
        ("passage", "passage", _multirc),
        ("target text", "target", _winograd),
        ("abst keyword", None, _csl),
        ("negative_1", None, _numbered_negatives),
        ("text label", "label", _cluener),
        ("question", "question", _stem),
    )
)
