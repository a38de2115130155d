"""Which column plays which part: by the name that the user gives, by the names it usually goes by, or as the one left.

A ``Shape`` is a value: roles to find among the columns, and a function that reads one row or raises ``RowError``. A
task with rows of a new shape defines one beside itself; nothing here needs to know of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeAlias

from lathe.core.errors import DataError, did_you_mean
from lathe.core.recipe import recipe


@recipe
class Columns:
    """Names of columns, where they are not to be found by themselves."""

    text: str | None = None
    """Column that holds the text."""
    text_pair: str | None = None
    """Column that holds the second text of a pair."""
    label: str | None = None
    """Column that holds the label, or the right one of several choices."""
    labels: str | None = None
    """Column that holds the list of labels, where a text may have several or none."""
    score: str | None = None
    """Column that holds the number to predict."""
    tokens: str | None = None
    """Column that holds the list of tokens."""
    tags: str | None = None
    """Column that holds one tag for each token."""
    spans: str | None = None
    """Column that holds the labelled spans of the text."""
    relations: str | None = None
    """Column that holds the relations between the spans."""
    head: str | None = None
    """Column that holds the span where the one relation of a row begins."""
    tail: str | None = None
    """Column that holds the span where the one relation of a row ends."""
    events: str | None = None
    """Column that holds the events: triggers with their arguments."""
    context: str | None = None
    """Column that holds the passage in which an answer stands."""
    question: str | None = None
    """Column that holds the question."""
    choices: str | None = None
    """Column that holds the list of possible answers."""
    answers: str | None = None
    """Column that holds the answers and where they stand in the context."""
    is_impossible: str | None = None
    """Column that says that a question has no answer."""
    source: str | None = None
    """Column that holds the text to transform; of a ``translation``, its language."""
    target: str | None = None
    """Column that holds what the text is to become, or a list of it; of a ``translation``, its language."""
    messages: str | None = None
    """Column that holds the turns of a conversation."""
    system: str | None = None
    """Column that holds what the assistant is told before a conversation."""
    instruction: str | None = None
    """Column that holds an instruction."""
    input: str | None = None
    """Column that holds what an instruction is about."""
    output: str | None = None
    """Column that holds the answer to an instruction."""
    query: str | None = None
    """Column that holds what is searched for."""
    positive: str | None = None
    """Column that holds what is to be found, or a list of it."""
    negatives: str | None = None
    """Column that holds what is not to be found, or a list of it."""
    candidates: str | None = None
    """Column that holds the list of what is to be put in order."""
    title: str | None = None
    """Column that holds the title of a text that is searched."""
    history: str | None = None
    """Column that holds the list of earlier items of a user, or the earlier turns of an instruction."""
    item: str | None = None
    """Column that holds the item that a user took."""
    user: str | None = None
    """Column that holds the user who took an item."""
    time: str | None = None
    """Column that holds when an item was taken: a number that grows."""
    id: str | None = None
    """Column that holds the name of the row."""


class Role(NamedTuple):
    """The part a column plays."""

    name: str  # the key in the rows of a table, and the option in ``Columns``
    aliases: tuple[str, ...]  # names it goes by, likeliest first
    by_elimination: bool = False  # may be the one column that is left over
    is_optional: bool = False  # a file, or a row, may go without


Values: TypeAlias = Mapping[str, Any]
"""The values of one row under the names of their roles; an optional one may be missing."""


class Reading(NamedTuple):
    """One good row, and how often something had to be read in a particular way."""

    row: dict[str, Any]
    notes: Mapping[str, int] = {}

    def with_(self, **values: Any) -> "Reading":
        return Reading(self.row | values, self.notes)

    def noting(self, *notes: str | None) -> "Reading":
        """The same row, with more said about how it was read."""
        return Reading(self.row, {**self.notes, **{note: 1 for note in notes if note}})


class Shape(NamedTuple):
    roles: tuple[Role, ...]
    read: Callable[[Values], Reading]


_NEVER_BY_ELIMINATION = {"id", "idx", "index", "guid", "uid", "uuid", "key", "no", "编号", "序号", ""}


def find_columns(names: Sequence[str], shapes: Sequence[Shape], given: Columns) -> tuple[Shape, dict[str, str]]:
    """The first shape whose roles are all played by one of the columns, and which column plays which.

    Raises ``DataError`` with the columns there are and the option to set.
    """
    lacking: list[list[str]] = []
    for shape in _fitting(shapes, given):
        found, missing = _cast(names, shape.roles, given)
        if not missing:
            return shape, found
        lacking.append([role.name for role in missing])
    lacking.sort(key=len)  # what lacks least is likeliest meant
    wanted, columns = ", nor for ".join(map(" and ".join, lacking)), ", ".join(map(repr, names))
    raise DataError(f"no column for {wanted}; the columns are {columns}; set data.columns.{lacking[0][0]}=NAME")


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
    missing = [role for role in roles if role.name not in found and not role.is_optional]
    left = [name for key, name in folded.items() if name not in found.values() and key not in _NEVER_BY_ELIMINATION]
    if len(missing) == len(left) == 1 and missing[0].by_elimination:
        found[missing.pop().name] = left[0]
    return {role.name: found[role.name] for role in roles if role.name in found}, missing
