"""Another model in the place of one that answers, without a request lost: and back again."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from lathe.core.errors import LatheError, RecipeError
from lathe.core.report import say
from lathe.core.runtime import Precision
from lathe.serve.example import example
from lathe.serve.served import Models, Served, open_model


class Refresh:
    """Opens the models whose folders have become others: a finished folder never changes, a link to it does.

    The new one answers from the moment that it can; requests under way are answered by the one that they began with.
    Whatever cannot be opened, answers other tasks, or fails at a first row, leaves the old one where it is.
    """

    def __init__(self, models: Models, folders: Mapping[str, Path], precision: Precision) -> None:
        self.models, self.folders, self.precision = models, folders, precision
        self._lock = asyncio.Lock()

    async def __call__(self) -> None:
        async with self._lock:
            for name, folder in self.folders.items():
                old = self.models[name]
                try:
                    new = await asyncio.to_thread(_opened, old, folder, self.precision)
                except (LatheError, OSError) as error:
                    say(f"{old.title} still answers: {error}")
                    continue
                if new is None:
                    say(f"{old.title} still answers: {folder} is the same")
                else:
                    self.models.replace(new)
                    say(f"{new.title} answers in the place of {old.title}")


def _opened(old: Served, folder: Path, precision: Precision) -> Served | None:
    """The model that is in the folder now; None where it is the old one."""
    new = open_model(old.name, folder, precision, unless=old.version)
    if new is None:
        return None
    if new.kinds != old.kinds:
        raise RecipeError(f"{folder} answers {' and '.join(new.kinds)}; a server keeps its tasks, so start another")
    warm(new)
    return new


def warm(served: Served) -> None:
    """Answer a first row, which takes longer than others."""
    if served.predictor is not None:
        served.predictor.predict(served.predictor.encode([example(served)[1]]))
