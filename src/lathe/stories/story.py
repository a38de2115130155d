"""A story: ``[[stage]]`` tables with a verb, a name and options; ``"@name"`` stands for the folder of an earlier stage.

Every stage is parsed and every reference checked before the first one runs. A finished stage is reused, a stopped one
goes on: that is what a stage does with its folder, a story only calls them in order.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lathe.core.bundle import Bundle
from lathe.core.errors import LatheError, RecipeError, did_you_mean
from lathe.core.recipe import merged, parse, read_toml, recipe
from lathe.core.report import say
from lathe.verbs import VERBS

STAGES = {name: verb.package for name, verb in VERBS.items() if verb.out == "required" and name != "run"}
"""What can stand in a story: every verb that makes a folder."""


@recipe
class Recipe:
    story: Path
    """TOML file of [[stage]] tables."""
    stages: dict[str, Any] = field(default_factory=dict)
    """Options on top of the file's, below the name of a stage: stages.encoder.train.max_steps=50."""


@dataclass(frozen=True)
class Stage:
    """One table of a story, as written: references are not yet folders."""

    name: str
    verb: str
    options: Mapping[str, Any]


class Step(NamedTuple):
    """A stage that is ready to run."""

    stage: Stage
    recipe: Any
    out: Path
    run: Callable[[Any, Path], Bundle]


class Done(NamedTuple):
    name: str
    bundle: Bundle
    seconds: float


def run(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Run a story; each stage's folder is ``out`` / its name."""
    steps = prepare(changed(read_story(recipe.story), recipe.stages), out)
    done = [run_step(step, f"{number}/{len(steps)}") for number, step in enumerate(steps, 1)]
    return summary(out, done)


def read_story(path: Path) -> list[Stage]:
    """The stages of a file. Raises ``RecipeError`` for anything but a list of named stages with known verbs."""
    values = read_toml(path)
    tables = values.pop("stage", None)
    if values.pop("verb", "run") != "run" or values:
        raise RecipeError(f"{path}: no story: it has {', '.join(values) or 'another verb'} beside its [[stage]] tables")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise RecipeError(f"{path}: no [[stage]] table; a story is a list of them, each with verb and name")
    stages = [_stage(table, f"{path}: stage {number}") for number, table in enumerate(tables, 1)]
    if doubled := [s.name for i, s in enumerate(stages) if s.name in {other.name for other in stages[:i]}]:
        raise RecipeError(f"{path}: two stages are called {doubled[0]!r}; their folders would be the same")
    return stages


def changed(stages: Sequence[Stage], options: Mapping[str, Any]) -> list[Stage]:
    """The stages with other options on top: stage name -> options."""
    names = [stage.name for stage in stages]
    for name, given in options.items():
        if name not in names:
            raise RecipeError(f"stages.{name}: no such stage{did_you_mean(name, names)} ({', '.join(names)})")
        if not isinstance(given, dict):
            raise RecipeError(f"stages.{name}: give options of this stage, for instance stages.{name}.NAME=VALUE")
    return [Stage(s.name, s.verb, merged(s.options, options.get(s.name, {}))) for s in stages]


def prepare(stages: Sequence[Stage], out: Path) -> list[Step]:
    """Parse every stage. Raises ``RecipeError`` with all that is wrong, before anything runs."""
    steps, wrong, known = [], [], list[str]()
    for stage in stages:
        try:
            package = import_module(STAGES[stage.verb])
            recipe = parse(package.Recipe, _resolved(stage.options, known, out))
            steps.append(Step(stage, recipe, out / stage.name, package.run))
        except LatheError as error:
            wrong += [f"{stage.name}: {line}" for line in str(error).splitlines()]
        known.append(stage.name)
    if wrong:
        raise RecipeError("\n".join(wrong))
    return steps


def run_step(step: Step, place: str) -> Done:
    """Run one stage and say so in one line. Whatever goes wrong bears the stage's name."""
    say(f"[{place}] {step.stage.name} ({step.stage.verb})")
    started_s = time.perf_counter()
    bundle = step.run(step.recipe, step.out)
    seconds = time.perf_counter() - started_s
    say(f"[{place}] {step.stage.name}: {'already there' if bundle.reused else f'done in {seconds:.1f} s'}")
    return Done(step.stage.name, bundle, seconds)


def summary(out: Path, done: Sequence[Done]) -> dict[str, Any]:
    """What ``--json`` prints."""
    stages = [
        {"name": d.name, "out": str(d.bundle.path), "seconds": round(d.seconds, 3), "reused": d.bundle.reused}
        for d in done
    ]
    scores = {d.name: d.bundle.manifest.scores for d in done}
    reused = all(d.bundle.reused for d in done)
    return {"out": str(out), "kind": "story", "stages": stages, "scores": scores, "reused": reused}


def _stage(table: Mapping[str, Any], where: str) -> Stage:
    options = {key: value for key, value in table.items() if key not in ("verb", "name")}
    verb, name = table.get("verb"), table.get("name", table.get("verb"))
    if verb not in STAGES:
        near = did_you_mean(str(verb), STAGES)
        raise RecipeError(f"{where}: verb {verb!r} is not one of {', '.join(STAGES)}{near}")
    if not isinstance(name, str) or not name or Path(name).name != name or name.startswith("."):
        raise RecipeError(f"{where}: name {name!r} cannot be the name of a folder")
    return Stage(name, str(verb), options)


def _resolved(value: Any, known: Sequence[str], out: Path) -> Any:
    """Options with each ``"@name"`` or ``"@name/file"`` replaced by the folder or file of that stage."""
    if isinstance(value, dict):
        return {key: _resolved(inner, known, out) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, known, out) for inner in value]
    if not (isinstance(value, str) and value.startswith("@")):
        return value
    name = value[1:].partition("/")[0]
    if name not in known:
        stages = f"({', '.join(known)})" if known else "(there are none)"
        raise RecipeError(f"{value!r}: no earlier stage is called {name!r} {stages}{did_you_mean(name, known)}")
    return str(out / value[1:])
