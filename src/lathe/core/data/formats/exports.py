"""Elements of a JSON list that are rows in another order: tasks of Label Studio, dialogues of C3."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from lathe.core.data.records import RowError

Row: TypeAlias = Mapping[str, Any]
_COLUMNS = {"labels": "spans", "hypertextlabels": "spans", "choices": "labels", "relation": "relations"}


# ------------------------------------------------------------------------------------------------------- Label Studio
def is_label_studio(value: Any) -> bool:
    """Whether this is a task as Label Studio exports it (JSON; JSON-MIN has rows)."""
    return isinstance(value, Mapping) and isinstance(value.get("data"), Mapping) and "annotations" in value


def columns_of(tasks: Iterable[Any]) -> tuple[str, ...]:
    """What the annotations of a file say, so that a task in which nothing was marked says that."""
    annotations = (one for task in tasks if is_label_studio(task) for one in task["annotations"] or [])
    results = (result for one in annotations if isinstance(one, Mapping) for result in one.get("result") or [])
    return tuple(sorted({_column(result) for result in results if _has_type(result)}))


def label_studio_row(task: Any, columns: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a task with ``spans``, ``labels`` (of choices), ``relations`` and others. Raises ``RowError``.

    A task of several annotators has no single answer: which one is right is for people to say.
    """
    if not is_label_studio(task):
        raise RowError("data", task, "no task of Label Studio", "export the project as JSON")
    given = [one for one in task["annotations"] or [] if isinstance(one, Mapping) and not one.get("was_cancelled")]
    right = [one for one in given if one.get("ground_truth")] or given
    if len(right) > 1:
        way = "mark one as ground truth, or delete the others"
        raise RowError("annotations", f"{len(right)} annotations", "several annotations of one text", way)
    row = dict(task["data"])
    if taken := next((column for column in columns if column in row), None):
        raise RowError(taken, row[taken], "the data has a field of this name, too", "rename it in the project")
    if not right:
        return row
    found: dict[str, Any] = {column: [] for column in columns}
    for result in _results(right[0]):
        found[_column(result)] += _values(result)
    return row | found


def _results(annotation: Row) -> list[Row]:
    results = annotation.get("result") or []
    if not isinstance(results, list) or not all(map(_has_type, results)):
        raise RowError("annotations", results, "a result without its type", "export the project as JSON")
    return results


def _has_type(result: Any) -> bool:
    return isinstance(result, Mapping) and "type" in result


def _column(result: Row) -> str:
    return _COLUMNS.get(str(result["type"]), str(result["type"]))


def _values(result: Row) -> list[Any]:
    kind, value = result["type"], result.get("value", {})
    if kind == "relation":
        labels = result.get("labels") or ["related"]
        return [{"head": result.get("from_id"), "tail": result.get("to_id"), "label": labels}]
    if not isinstance(value, Mapping):
        raise RowError("annotations", value, "a result without a value", "export the project as JSON")
    if _column(result) == "spans":
        place = value.get("globalOffsets", value)
        span = {"id": result.get("id"), "start": place.get("start"), "end": place.get("end")}
        return [span | {"text": value.get("text"), "label": value.get(kind, value.get("labels"))}]
    named = value.get(kind, value.get("text", value))
    return list(named) if isinstance(named, list) else [named]


# ----------------------------------------------------------------------------------------------------------------- C3
def is_c3(value: Any) -> bool:
    """A text, questions with their choices, and a name."""
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(part, list) for part in value[:2])
        and any(isinstance(question, Mapping) and "choice" in question for question in value[1])
    )


def c3_rows(value: Any) -> list[dict[str, Any]]:
    """A row for each question. Raises ``RowError``."""
    if not is_c3(value) or not all(isinstance(line, str) for line in value[0]):
        raise RowError(
            None, value, "no text with questions", 'write [["text"], [{"question", "choice", "answer"}], id]'
        )
    name = {"id": value[2]} if len(value) > 2 else {}
    return [_c3_row("\n".join(value[0]), question) | name for question in value[1]]


def _c3_row(context: str, question: Row) -> dict[str, Any]:
    """The answer is a text, also where it is a number: its place says what is meant."""
    choices, answer = question.get("choice"), question.get("answer")
    row = {"context": context, "question": question.get("question"), "choices": choices}
    if answer is None:
        return row
    is_clear = isinstance(choices, list) and choices.count(answer) == 1
    return row | {"label": choices.index(answer) if is_clear and choices else answer}
