"""Recipes whose verb takes training steps, opened for verbs that look at such runs."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lathe.core.errors import RecipeError, did_you_mean
from lathe.core.recipe import merged, parse, read_toml
from lathe.verbs import VERBS

TRAINING = ("pretrain", "finetune")
"""Verbs whose steps can be watched and planned."""


@dataclass(frozen=True)
class Training:
    """A recipe of such a verb, and the stage that runs it."""

    verb: str
    recipe: Any

    @property
    def stage(self) -> Any:
        return import_module(VERBS[self.verb].package)


def open_training(path: Path, options: dict[str, Any]) -> Training:
    """The recipe in ``path`` with ``options`` on top. Raises ``RecipeError`` where its verb takes no steps."""
    values = read_toml(path)
    verb = values.pop("verb", "")
    if verb not in TRAINING:
        near = did_you_mean(str(verb), TRAINING)
        raise RecipeError(f"{path}: verb = {verb!r}: only {' and '.join(TRAINING)} take training steps{near}")
    return Training(verb, parse(import_module(VERBS[verb].package).Recipe, merged(values, options)))
