"""Showing: what a bundle is, how good it is, and where it comes from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lathe.core.bundle import Ancestor, Bundle, Manifest, is_bundle
from lathe.core.card import Figure, figures, lineage, number
from lathe.core.digest import digest_of
from lathe.core.recipe import dump, recipe
from lathe.core.report import Told

SHOWN_LABELS = 20


@recipe
class Recipe:
    bundle: Path
    """The bundle."""


def run(recipe: Recipe) -> Told:
    """Tell what the manifest says, after comparing every file of the bundle with its digest."""
    bundle = Bundle.open(recipe.bundle)
    bundle.verify()
    known = {"path": str(bundle.path), "digest": bundle.digest, "size_bytes": bundle.size_bytes}
    return Told("\n".join(describe(bundle)), dump(bundle.manifest) | known)


def describe(bundle: Bundle) -> Iterator[str]:
    """The manifest for people: one fact a line."""
    made = bundle.manifest
    yield f"{bundle.path}: {made.kind}, made by `lathe {made.stage}`; {len(made.files)} files, as they were written"
    yield from (f"  {name:<9} {text}" for name, text in _facts(bundle) if text)
    yield from _scores(made)
    yield f"  {'from':<9} {bundle.name}"
    yield from (f"  {'':<9} {line}" for line in lineage(made.parents, state))


def state(parent: Ancestor) -> str:
    """Whether an ancestor is still where it was, unchanged."""
    path = Path(parent.path)
    if not is_bundle(path):
        return "  not there any more"
    return "  verified" if digest_of(path) == parent.sha256 else "  CHANGED since: another bundle has its place"


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    made = bundle.manifest
    yield "task", _task(made.task) if made.task else ""
    yield "size", f"{bundle.size_bytes / 1e6:,.2f} MB" + (" read to predict" if made.runtime else "")
    yield "runtime", f"{made.runtime.kind}, {made.runtime.precision}" if made.runtime else ""
    for use in made.data:
        aside = f", {use.quarantined:,} set aside" if use.quarantined else ""
        yield "data", f"{use.path}: {use.kept:,} rows{aside} ({use.sha256[:12]})"
    yield "rates", ", ".join(f"{name} {value:,.0f}" for name, value in made.rates.items())
    yield "versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())


def _task(task: dict[str, Any]) -> str:
    labels = task.get("labels") or []
    more = f", and {len(labels) - SHOWN_LABELS} more" if len(labels) > SHOWN_LABELS else ""
    return f"{task.get('kind')}, {len(labels)} labels: {', '.join(labels[:SHOWN_LABELS])}{more}"


def _scores(made: Manifest) -> Iterator[str]:
    found = list(figures(made.scores))
    width = max((len(figure.name) for figure in found), default=0)
    for position, figure in enumerate(found):
        yield f"  {'scores' if position == 0 else '':<9} {figure.name:<{width}}  {_beside(figure)}"


def _beside(figure: Figure) -> str:
    interval = f" [{number(figure.interval[0])}, {number(figure.interval[1])}]" if figure.interval else ""
    baseline = "" if figure.baseline is None else f"  (baseline {number(figure.baseline)})"
    return f"{number(figure.value)}{interval}{baseline}"
