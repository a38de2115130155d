"""Feedback from the shell: how much there is, rows to train on, and what is to be deleted."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lathe.core.answers import json_line, refuse_place, whole_file
from lathe.core.errors import LatheError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import Told

if TYPE_CHECKING:
    from lathe.feedback.store import Store

PAGE = 1000


@recipe
class Recipe:
    store: str
    """The file of `feedback.store`, or the URL of its database."""
    task: str | None = None
    """Of which task rows are written; needed where there are several."""
    model: str | None = None
    """Rows of this model alone, by its name or by name@version."""
    since: date | None = None
    """Rows of this day (UTC) and later ones."""
    redact: bool = False
    """Whether personal data and keys are taken out of the rows; those of which it cannot be done are left out."""
    delete: str | None = None
    """Id of a record to delete."""
    keep_days: float | None = Field(None, gt=0)
    """Days after which records are deleted, now."""


def run(recipe: Recipe, out: Path | None = None) -> Told:
    """Delete what is to be deleted, write rows to ``out`` if given, and count what there is."""
    if "://" not in recipe.store and not Path(recipe.store).is_file():
        raise RecipeError(f"store: there is no file {recipe.store}; give that of lathe serve feedback.store=FILE")
    refuse_place(out)
    try:
        from lathe.feedback.store import Store
    except ModuleNotFoundError as error:
        raise LatheError(f"{error.name} is not installed; pip install 'lathe[serve]'") from None
    store = Store(recipe.store)
    try:
        told: dict[str, Any] = {}
        if recipe.delete is not None:
            if not store.delete(recipe.delete):
                raise RecipeError("delete: no record of this id is kept")
            told["deleted"] = 1
        if recipe.keep_days is not None:
            told["deleted"] = told.get("deleted", 0) + store.purge(recipe.keep_days)
        if out is not None:
            told |= _export(store, recipe, out)
        told["counts"] = store.summary()
    finally:
        store.close()
    return Told("\n".join(_lines(told)), told)


def _export(store: "Store", recipe: Recipe, out: Path) -> dict[str, Any]:
    """Rows, and beside them a line for each with where it comes from."""
    from lathe.feedback.rows import exported

    tasks = sorted({line["task"] for line in store.summary()})
    if recipe.task is None and len(tasks) > 1:
        raise RecipeError(f"task: there is feedback of {', '.join(tasks)}; choose one")
    since_s = datetime.combine(recipe.since, datetime.min.time(), UTC).timestamp() if recipe.since else 0.0
    records, after = [], 0
    while page := store.page(recipe.task, recipe.model, after, PAGE, since_s):
        records += page
        after = page[-1].number
    found = exported(records, recipe.redact)
    if not found.rows:
        raise RecipeError("no correction is kept of which a row could be made; nothing was written")
    sources = out.with_suffix(".sources.jsonl")
    refuse_place(sources)
    for path, lines in ((sources, found.sources), (out, found.rows)):
        with whole_file(path) as stream:
            stream.writelines(map(json_line, lines))
    counts = {"repeated": found.repeated, "conflicts": found.conflicts, "left_out": found.left_out}
    return {"out": str(out), "sources": str(sources), "rows": len(found.rows), **counts}


def _lines(told: Mapping[str, Any]) -> list[str]:
    lines = [f"{told['deleted']:,} deleted"] if "deleted" in told else []
    if "out" in told:
        lines.append(f"{told['out']}: {told['rows']:,} rows; where they come from: {told['sources']}")
        lines.append(
            f"{told['repeated']:,} older corrections gave way to newer ones, {told['conflicts']:,} rows were corrected "
            f"differently, {told['left_out']:,} rows were left out"
        )
    for line in told["counts"]:
        rating = {1: "good", -1: "bad", None: "not rated"}[line["rating"]]
        lines.append(f"{line['task']}, {line['model']}, {rating}: {line['records']:,}")
    return lines or ["no feedback"]
