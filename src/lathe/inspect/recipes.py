"""Checking a recipe, or a story of several: parsed as its verb would, every file looked for, no model loaded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lathe.core.bundle import Bundle, is_bundle
from lathe.core.errors import LatheError, RecipeError, did_you_mean
from lathe.core.recipe import parse, read_toml
from lathe.core.report import Told
from lathe.models.pretrained import check_folder
from lathe.verbs import VERBS


class Checked(NamedTuple):
    """A recipe that parses, and the files and folders it names by option."""

    verb: str
    paths: Mapping[str, Path]


def check_recipe(path: Path) -> Told:
    """Say what a TOML file asks for. Raises ``RecipeError`` with everything that would stop it."""
    values = read_toml(path)
    tables = values.get("stage", [values])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RecipeError(f"{path}: no [[stage]] table; a story is a list of them, each with verb and name")
    checked, wrong, earlier = list[Checked](), list[str](), list[str]()
    for table in tables:
        name = str(table.get("name", "")) if "stage" in values else ""
        try:
            checked.append(_check({key: value for key, value in table.items() if key != "name" or not name}, earlier))
        except RecipeError as error:
            wrong += [f"{path}: {name}{': ' * bool(name)}{line}" for line in str(error).splitlines()]
        earlier.append(name or str(table.get("verb")))
    if wrong:
        raise RecipeError("\n".join(wrong))
    return _tell(path, checked)


def paths_of(value: Any, name: str = "") -> Iterator[tuple[str, Path]]:
    """Every file and folder that a recipe names, with the option that names it."""
    if isinstance(value, Path):
        yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from paths_of(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from paths_of(inner, f"{name}[{number}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, f"{name}.{key}")


def _check(table: Mapping[str, Any], earlier: Sequence[str]) -> Checked:
    """One recipe; ``@name`` stands for the result of one of the ``earlier`` stages of its story."""
    options = dict(table)
    verb = options.pop("verb", None)
    if verb is None:
        raise RecipeError('names no verb; begin it with a line like verb = "finetune"')
    if verb not in VERBS:
        raise RecipeError(f"{verb!r} is no verb of lathe{did_you_mean(str(verb), VERBS)}")
    paths = dict(paths_of(parse(import_module(VERBS[verb].package).Recipe, options)))
    problems = [problem for option, place in paths.items() if (problem := _problem(option, place, earlier))]
    if problems:
        raise RecipeError("\n".join(problems))
    return Checked(verb, paths)


def _problem(option: str, place: Path, earlier: Sequence[str]) -> str:
    """What is wrong with a file or folder, or nothing."""
    if str(place).startswith("@"):
        name = place.parts[0][1:]
        return "" if name in earlier else f"{option}: no earlier stage is called {name!r}{did_you_mean(name, earlier)}"
    if not place.exists():
        siblings = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        return f"{option}: {place}: no such file or folder{did_you_mean(place.name, siblings)}"
    try:
        if is_bundle(place):
            Bundle.open(place)
        elif (place / "config.json").is_file():
            check_folder(place)
    except LatheError as error:
        return f"{option}: {error}"
    return ""


def _tell(path: Path, checked: Sequence[Checked]) -> Told:
    lines = [f"{path}: {'a recipe' if len(checked) == 1 else f'a story of {len(checked)} stages'}, ready to run"]
    for one in checked:
        lines.append(f"  lathe {one.verb}")
        lines += [f"    {option}: {place}" for option, place in one.paths.items()]
    stages = [{"verb": one.verb, "paths": {name: str(place) for name, place in one.paths.items()}} for one in checked]
    return Told("\n".join(lines), {"file": str(path), "stages": stages})
