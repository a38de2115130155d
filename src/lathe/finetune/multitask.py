"""``lathe multitask``: one body with a head for each of several tasks, trained together on labelled rows of each."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from pydantic import Field
from transformers import PreTrainedModel

from lathe.core import parallel, runtime
from lathe.core.batches import Joined
from lathe.core.bundle import Bundle, Manifest, Runtime
from lathe.core.coupled import Coupled
from lathe.core.data import write_quarantine
from lathe.core.errors import BundleError, DataError, RecipeError
from lathe.core.fit import Course, restore_best, settled
from lathe.core.heads import Heads
from lathe.core.metrics import IN_PERCENT
from lathe.core.recipe import dump, recipe
from lathe.core.report import heard, say
from lathe.core.turns import Turns, shares
from lathe.core.types import Symbols
from lathe.core.work import Work, read_log, run_together
from lathe.finetune import stage
from lathe.finetune.adapt import ADAPTER, Adapted, AnyAdaptation, Full, told
from lathe.finetune.report import NAME, Run, report
from lathe.finetune.stage import Data, FinetuneTrain, Inputs
from lathe.finetune.together import report_together
from lathe.models import AnyModel
from lathe.models.pretrained import save_model, summary, with_head
from lathe.tasks import AnyTask
from lathe.tasks.examples import use_of
from lathe.tasks.origin import Furnishes, HasTokenizer
from lathe.tasks.selection import Selection
from lathe.tasks.several import Owned, Several, lines_of
from lathe.tasks.training import plan_of, selection_of, train_watched, tuned, watch

FOLDER = re.compile(r"\w[\w-]*")
"""What a task may be called: its model gets a folder of this name."""


@recipe
class Member:
    task: AnyTask
    """What the rows mean."""
    data: Data
    """The labelled rows."""
    weight: float = Field(1.0, gt=0)
    """How often the task has its turn, beside what its rows and train.temperature say: 2 is twice as often."""


@recipe
class MultitaskTrain(FinetuneTrain):
    temperature: float = Field(2.0, ge=1)
    """Tasks take turns in proportion to weight * rows^(1 / temperature): with 1 by their rows, the higher, the more
    alike."""


@recipe
class Recipe:
    base: Path | None = None
    """Folder of the model to start from: a bundle, or any Hugging Face folder with safetensors."""
    model: AnyModel | None = None
    """Shape of a new model, instead of `base`: it learns the tasks from nothing."""
    tokenizer: Path | None = None
    """Folder of the tokenizer of a new model."""
    tasks: dict[str, Member]
    """The tasks by name: their models are written to folders of these names."""
    adapt: AnyAdaptation = Full()
    """Which weights are trained: all of them, some, or those of a small adapter."""
    train: MultitaskTrain = MultitaskTrain()
    """How to train; rows and tokens of a step are of one task."""

    def single(self) -> dict[str, stage.Recipe]:
        """Each task as `lathe finetune` would take it, in the order of their names: no result depends on another."""
        names = ("base", "model", "tokenizer", "adapt", "train")
        common: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {name: stage.Recipe(data=one.data, task=one.task, **common) for name, one in sorted(self.tasks.items())}


def run(recipe: Recipe, out: Path) -> Bundle:
    """Train; ``out`` gets a folder for each task, a bundle that opens by itself, all with the same body."""
    data = [one.data for _, one in sorted(recipe.tasks.items())]
    files = [path for one in data for path in (one.train, one.validation, one.test, one.collection)]
    return run_together("multitask", recipe, out, [recipe.base, recipe.tokenizer, *files], partial(_make, recipe))


@dataclass(frozen=True)
class Part:
    """One of the tasks, its files read."""

    recipe: stage.Recipe
    inputs: Inputs
    noticed: list[str]  # what was said of its rows


def _make(recipe: Recipe, work: Work) -> Manifest:
    runtime.set_up()
    singles = recipe.single()
    _refuse_tasks(recipe, singles)
    with runtime.memory_ahead(max(map(stage.ahead, singles.values()))):
        parts = _read(singles, work)
    course = _course(recipe, parts)
    _refuse_apart(parts)
    heads, adapted = _open(recipe, parts)
    found = _train(settled(recipe.train, work), parts, heads, adapted, course, work)
    page = report_together(found.runs)
    (work.result / NAME).write_text(page, encoding="utf-8")
    used = dict.fromkeys(use_of(table) for part in parts.values() for table in part.inputs.tables.values())
    scores = {name: run.scores for name, run in found.runs.items()}
    return Manifest(kind="models", stage="multitask", data=tuple(used), scores={**found.taken, "tasks": scores})


def _refuse_tasks(recipe: Recipe, singles: Mapping[str, stage.Recipe]) -> None:
    """What is wrong with the tasks by themselves, before any file is read. Raises ``RecipeError``."""
    if not singles:
        raise RecipeError("tasks: none is given; begin one with [tasks.NAME], and give it task.kind and data.train")
    if recipe.train.torch_compile:
        raise RecipeError("train.torch_compile: only layers of a single task are compiled; set it to false")
    for name, single in singles.items():
        if not FOLDER.fullmatch(name):
            raise RecipeError(f"tasks.{name}: is no name for a folder; take letters, digits, _ and -")
        if isinstance(single.task, Coupled):
            raise RecipeError(
                f"tasks.{name}: task.kind={single.task.kind} compares all rows of a step with one another, which "
                "`lathe multitask` cannot; train it by itself with `lathe finetune`"
            )
        if recipe.base is None and isinstance(single.task, HasTokenizer):
            raise RecipeError(
                f"tasks.{name}: task.kind={single.task.kind} makes a tokenizer of its own rows, and all tasks share "
                "one; train it by itself with `lathe finetune`"
            )


def _read(singles: Mapping[str, stage.Recipe], work: Work) -> dict[str, Part]:
    """All that can be wrong with the files of any task is found before a model is loaded."""
    parts = {}
    for name, single in singles.items():
        with _naming(name), heard() as noticed:
            say(f"{name}:")
            parts[name] = Part(single, stage.read_inputs(single, work), noticed)
    bad = {id(bad): bad for part in parts.values() for table in part.inputs.tables.values() for bad in table.bad}
    parallel.once(lambda: write_quarantine([*bad.values()], work.path / "quarantine.jsonl"))
    return parts


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """What is wrong within bears the name of the task."""
    try:
        yield
    except (BundleError, DataError, RecipeError) as error:
        raise type(error)(f"tasks.{name}: {error}") from None


def _course(recipe: Recipe, parts: Mapping[str, Part]) -> Course:
    """The steps of a run. Raises ``RecipeError`` where a task would have none of them."""
    config, own = recipe.train, {name: part.inputs.source for name, part in parts.items()}
    plans = {name: plan_of(source, config) for name, source in own.items()}
    counts = {name: len(plan.lengths) for name, plan in plans.items()}
    chance = shares([*counts.values()], config.temperature, [recipe.tasks[name].weight for name in parts])
    plan = Turns(tuple(plans.values()), tuple(chance.tolist()))
    total = config.max_steps or plan.count(config.epochs)
    drawn = np.bincount(plan.drawn(0, total), minlength=len(parts)).tolist()
    for name, steps, share in zip(parts, drawn, plan.shares, strict=True):
        if not steps:
            raise RecipeError(
                f"tasks.{name}: has none of {total:,} steps (a chance of {share:.2%} in each, and there are "
                f"{len(parts)} tasks); raise train.max_steps, train.temperature or its weight"
            )
        times = steps * config.batch_size / counts[name]
        say(f"{name}: {steps:,} of {total:,} steps (p = {share:.3f}), {times:.1f} passes over its rows")
    sources = [Owned(name, source, plans[name].lengths) for name, source in own.items()]
    tasks = {name: part.inputs.task for name, part in parts.items()}
    symbols = {name: Symbols.of(part.inputs.tokenizer) for name, part in parts.items()}
    return Course(Several(tasks, symbols), Joined(sources), next(iter(symbols.values())), plan, total)


def _refuse_apart(parts: Mapping[str, Part]) -> None:
    """Raises ``RecipeError`` where two tasks have no body in common; models are made without weights."""
    bodies: dict[str, str] = {}
    for name, part in parts.items():
        task, pad = part.inputs.task, Symbols.of(part.inputs.tokenizer).pad
        with torch.device("meta"):
            model = task.auto_model.from_config(with_head(copy.deepcopy(part.inputs.shape), task.outputs, pad))
        bodies[name] = type(model.base_model).__name__
        if model.base_model is model and task.outputs:
            raise RecipeError(
                f"tasks.{name}: in a {bodies[name]} the head cannot be told from the body; train it by itself with "
                "`lathe finetune`"
            )
    (first, body), *others = bodies.items()
    for name, other in others:
        if other != body:
            raise RecipeError(
                f"tasks.{name}: task.kind={parts[name].inputs.task.kind} needs a {other}, and tasks.{first} "
                f"(task.kind={parts[first].inputs.task.kind}) a {body}: they have no body in common; train them apart, "
                "with `lathe finetune`"
            )


def _open(recipe: Recipe, parts: Mapping[str, Part]) -> tuple[Heads, dict[str, Adapted]]:
    """One body with all heads, and each task's model with what adapts it."""
    adapted: dict[str, Adapted] = {}

    def opened() -> Iterator[PreTrainedModel]:  # one by one: of a body that has another's weights nothing stays
        for name, part in parts.items():
            found = stage.open_base(part.recipe, part.inputs)
            say(f"{name}: new weights: {summary(found.new) or 'none'}")
            adapted[name] = recipe.adapt(found, recipe.train.seed)
            yield adapted[name].model

    heads = Heads(opened())
    say(f"{recipe.base or 'a new model'}, {len(parts)} heads: {heads.config.model_type}, {told(heads)}")
    return heads, adapted


@dataclass(frozen=True)
class Found:
    """What a run has led to."""

    runs: Mapping[str, Run]  # by task
    taken: Mapping[str, Any]  # steps, and which was best


def _train(
    config: MultitaskTrain,
    parts: Mapping[str, Part],
    heads: Heads,
    adapted: Mapping[str, Adapted],
    course: Course,
    work: Work,
) -> Found:
    """Train, go back to the best step, score and save every task."""
    predictors = {name: stage.predictor_of(part.inputs, adapted[name].model, config) for name, part in parts.items()}
    looks = {
        name: watch(adapted[name].model, predictors[name], part.inputs.splits["validation"], config)
        for name, part in parts.items()
    }
    chosen = {name: selection_of(part.inputs.task, config) for name, part in parts.items()}
    selection, joined = together(chosen)

    def watched() -> dict[str, float]:
        found = {name: look() for name, look in looks.items()}
        each = {f"{name}/{metric}": value for name, scores in found.items() for metric, value in scores.items()}
        return each | {selection.metric: joined(found)}

    taken = train_watched(heads, course, watched, selection, config, work)
    if taken["best_step"] != taken["steps"]:
        for name, part in parts.items():
            _save_model(part, adapted[name], work.result / name / "last")
        restore_best(work, heads)
    log, runs = read_log(work.path), {}
    for name, part in parts.items():
        say(f"{name}:")
        inputs, predictor = part.inputs, tuned(predictors[name], part.inputs.splits["validation"])
        findings, scores = stage.final_scores(predictor.task, predictor, inputs.splits)
        last, reported = [*findings.values()][-1], scores | taken
        about = (last, inputs.tables, inputs.splits, part.noticed, reported, lines_of(name, log))
        size = f"{heads.config.model_type}, {told(adapted[name].model)}"
        runs[name] = Run(size, part.recipe.adapt.kind, chosen[name].metric, *about)
        made = _finished(part, predictor.task, adapted[name], runs[name], work.result / name)
        stage.calibrate(findings, work.result / name)
        work.finish_part(name, made)
    return Found(runs, taken)


def together(chosen: Mapping[str, Selection]) -> tuple[Selection, Callable[[Mapping[str, Mapping[str, float]]], float]]:
    """One selection for all tasks: by the mean of what selects each. Metrics in percent count as shares beside others.

    All models are of one step, so that they have one body.
    """
    metrics = {name: one.metric for name, one in chosen.items()}
    some = next(iter(chosen.values()))
    if len({*metrics.values()}) == 1:
        return some, lambda found: fmean(found[name][metric] for name, metric in metrics.items())
    units = {metric: 100 if metric in IN_PERCENT else 1 for metric in metrics.values()}
    named = "mean of " + ", ".join(f"{name}/{metric}" for name, metric in metrics.items())
    return replace(some, metric=named), lambda found: fmean(
        found[name][metric] / units[metric] for name, metric in metrics.items()
    )


def _finished(part: Part, task: AnyTask, adapted: Adapted, run: Run, folder: Path) -> Manifest:
    """Write the model of one task, and its report."""
    saved = _save_model(part, adapted, folder)
    if isinstance(task, Furnishes):
        task.furnish(folder, adapted.model.config)
    if getattr(part.recipe.adapt, "keep_adapter", False):
        adapted.save_adapter(folder / ADAPTER)
    (folder / NAME).write_text(report(run), encoding="utf-8")
    used = tuple(use_of(table) for table in part.inputs.tables.values())
    return Manifest(kind="model", stage="multitask", task=dump(task), data=used, scores=dict(run.scores), runtime=saved)


def _save_model(part: Part, adapted: Adapted, folder: Path) -> Runtime:
    merged = adapted.merged(stage.some_inputs(part.inputs))
    return save_model(merged, part.inputs.tokenizer, folder)
