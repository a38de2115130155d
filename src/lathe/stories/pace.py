"""How many pretraining steps fit into a given time on this machine: measured once, and remembered."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lathe.core import learn
from lathe.core.batches import Plan, StepSize, ahead, batches
from lathe.core.digest import write_json
from lathe.core.documents import read_texts
from lathe.core.fit import quicken
from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols
from lathe.models.pretrained import new_model
from lathe.pretrain import Recipe
from lathe.pretrain.stage import opened

TEXTS = 2000  # that the measurement learns from
FEWEST_STEPS, MOST_STEPS = 500, 20_000
"""However slow or fast a machine seems: with fewer steps the network learns little, more do not fit its text."""


def remembered(file: Path) -> dict[str, Any]:
    """What an earlier run of the same story decided and measured."""
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return values


def remember(file: Path, **values: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, remembered(file) | values)


def steps_within(seconds: float, step_seconds: float) -> int:
    """As many steps as fit, within bounds.

    >>> steps_within(97, 0.08), steps_within(97, 60), steps_within(97, 1e-4)
    (1212, 500, 20000)
    """
    return min(max(int(seconds / step_seconds), FEWEST_STEPS), MOST_STEPS)


def step_seconds(recipe: Recipe, budget_s: float) -> float:
    """Seconds of a real training step on this machine, with new weights: real text, the real shape.

    Half of the budget warms up: the first steps take their memory from the system. Of the rest the lower quartile:
    other programs can only slow a step down, and they may be gone in a minute.
    """
    config = recipe.train
    tokenizer, shape = opened(recipe)
    model = new_model(recipe.objective.auto_model, shape, config.seed)
    quicken(model)
    symbols = Symbols.of(tokenizer)
    with TemporaryDirectory() as folder:
        texts = islice(read_texts(recipe.data.train), TEXTS)
        tokens = TokenFile.write(Path(folder) / "tokens", texts, tokenizer, recipe.max_length, recipe.objective.layout)
        plan = Plan(tokens.lengths, StepSize(config.tokens_per_step, "tokens"), config.seed)
        steps = ahead(batches(tokens, recipe.objective, symbols, plan, config.tokens_per_batch))
        with closing(steps):
            state = learn.State(config.optimizer(model))
            taken = learn.train(model, recipe.objective, steps, config, MOST_STEPS, state)
            moments = list(_moments(taken, budget_s))
    return float(np.quantile(np.diff(moments), 0.25))


def _moments(steps: Iterator[Any], budget_s: float) -> Iterator[float]:
    """When each step ended, in the second half of the budget; two at least."""
    started_s = time.perf_counter()
    told = 0
    for _ in steps:
        now_s = time.perf_counter()
        if now_s - started_s >= budget_s / 2:
            yield now_s
            told += 1
        if now_s - started_s >= budget_s and told >= 2:
            return
