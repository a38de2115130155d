"""From single interactions to histories: what a user had taken before, and what came next. The future never leaks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lathe.core.data import Table
from lathe.core.errors import DataError
from lathe.core.report import say

FEWEST = 3  # items of a user whose last one is held out


class Taken(NamedTuple):
    """One item of a user, and where the file says so."""

    item: str
    line: int
    time: float | None


def histories(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Rows ``{user, history, item}`` from rows ``{user, item, time?}``; other tables as they are.

    Of the training file each user is one row, learnt at every item. Of the others each interaction is a row, with all
    that the user took before it, also in the files before; what is learnt there is its item alone (``held``). Without
    ``validation`` the last item of each user who has at least three is held out (leave one out).

    A table ``before`` is what users took before all of them.

    Raises ``DataError`` where a later file holds earlier interactions.
    """
    if "history" in next(iter(tables.values())).rows[0]:
        return dict(tables)
    taken = {name: _by_user(table) for name, table in tables.items()}
    found: dict[str, Table] = {}
    before = taken.get("before", {})
    if "train" in tables:
        before, held = taken["train"], {}
        if "validation" not in tables:
            held = {user: [items[-1]] for user, items in before.items() if len(items) >= FEWEST}
        if held:
            before = {user: items[:-1] if user in held else items for user, items in before.items()}
            found["validation"] = _table(tables["train"], _following(before, held))
            say(f"no data.validation: the last item of {len(held):,} of {len(before):,} users is held out")
        found["train"] = _table(tables["train"], [one for one in _whole(before) if one[1]["history"]])
        before = {user: items + held.get(user, []) for user, items in before.items()}
    for name in ("validation", "test"):
        if name in tables:
            _refuse_earlier(tables[name], before, taken[name])
            found[name] = _table(tables[name], _following(before, taken[name]))
            if new := sum(user not in before for user in taken[name]):
                name_of = tables[name].path.name
                say(f"{name_of}: nothing is known of {new:,} users before this file; their first item is not asked")
            before = {user: before.get(user, []) + taken[name].get(user, []) for user in {*before, *taken[name]}}
    return {name: found[name] for name in ("train", "validation", "test") if name in found}


def _by_user(table: Table) -> dict[str, list[Taken]]:
    """In the order of their times, or of the file where it has none."""
    found: defaultdict[str, list[Taken]] = defaultdict(list)
    for line, row in zip(table.lines, table.rows, strict=True):
        found[row["user"]].append(Taken(row["item"], line, row.get("time")))
    timed = all("time" in row for row in table.rows)
    return {user: sorted(items, key=lambda one: one.time or 0.0) if timed else items for user, items in found.items()}


def _whole(users: Mapping[str, Sequence[Taken]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and row of each user."""
    for user, items in users.items():
        names = tuple(one.item for one in items)
        yield items[-1].line, {"user": user, "history": names[:-1], "item": names[-1]}


def _following(
    before: Mapping[str, Sequence[Taken]], after: Mapping[str, Sequence[Taken]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and row of each later item for which there is a history."""
    for user, items in after.items():
        names = [one.item for one in before.get(user, ())]
        for one in items:
            if names:
                yield one.line, {"user": user, "history": tuple(names), "item": one.item, "held": True}
            names.append(one.item)


def _table(table: Table, rows: Any) -> Table:
    found = sorted(rows, key=lambda one: one[0])
    if not found:
        raise DataError(f"{table.path}: no user has taken two items: there is no next one; give longer histories")
    return replace(table, rows=[row for _, row in found], lines=[line for line, _ in found])


def _refuse_earlier(table: Table, before: Mapping[str, Sequence[Taken]], after: Mapping[str, Sequence[Taken]]) -> None:
    """A model that has learnt what came later knows the answer."""
    for user, items in after.items():
        known = before.get(user)
        if known and known[-1].time is not None and items[0].time is not None and items[0].time < known[-1].time:
            raise DataError(
                f"{table.path}:{items[0].line}: user {user!r} took {items[0].item!r} at {items[0].time:g}, before what "
                f"stands in the files before (until {known[-1].time:g}): the future would be learnt; split by time"
            )
