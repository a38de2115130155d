"""``lathe quickstart``: from the documentation on this machine to a small, measured model that is ready to serve.

The stages stand in ``quickstart.toml``. Here is what a list of stages cannot say: how long this machine should train,
the same network without pretraining, and the comparison of all models on the same rows.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.work import Work, run_stage
from lathe.models.pretrained import new_model, open_config, open_tokenizer, save_model
from lathe.objectives import MaskedLM
from lathe.stories import comparison
from lathe.stories.comparison import BASELINE, Contestant, Example, Pair, read_comparison
from lathe.stories.pace import remember, remembered, step_seconds, steps_within
from lathe.stories.report import terminal_table, write_report
from lathe.stories.story import Done, Stage, Step, changed, prepare, read_story, run_step, summary

STORY = Path(__file__).with_name("quickstart.toml")
GROUPS = {"classifier": "fine-tuned", "distilled": "distilled", "model": "distilled, int8"}
"""Folders of the models that are compared -> their names in tables."""
UNTRAINED = "not pretrained"
PAIRS = (
    (UNTRAINED, GROUPS["classifier"]),
    (BASELINE, GROUPS["classifier"]),
    (GROUPS["classifier"], GROUPS["distilled"]),
    (GROUPS["distilled"], GROUPS["model"]),
    (BASELINE, GROUPS["model"]),
)


@recipe
class Recipe:
    pretrain_seconds: float = Field(100.0, gt=0)
    """Length of pretraining: this machine is measured to choose encoder.train.max_steps, where that is not given."""
    measure_seconds: float = Field(6.0, gt=0)
    """Length of that measurement."""
    untrained_seconds: float = Field(25.0, ge=0)
    """For fine-tuning the same network without pretraining: as many runs as fit, one at least."""
    untrained_runs: int = Field(3, ge=1)
    """Most of these runs."""
    speed_seconds: float = Field(1.0, gt=0)
    """For measuring the speed of each model."""
    corpus: dict[str, Any] = field(default_factory=dict)
    """Options of `lathe corpus`, for instance corpus.source.labelled.labels=12."""
    tokenizer: dict[str, Any] = field(default_factory=dict)
    """Options of `lathe tokenizer`."""
    encoder: dict[str, Any] = field(default_factory=dict)
    """Options of `lathe pretrain`, for instance encoder.train.max_steps=500."""
    classifier: dict[str, Any] = field(default_factory=dict)
    """Options of `lathe finetune`."""
    distilled: dict[str, Any] = field(default_factory=dict)
    """Options of `lathe compress`, for the smaller model."""
    model: dict[str, Any] = field(default_factory=dict)
    """Options of `lathe compress`, for its int8 form, the result."""


def run(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Make, measure, report. The same call again reuses what is finished and goes on where it was stopped."""
    stages = read_story(STORY)
    steps = prepare(changed(stages, {stage.name: getattr(recipe, stage.name) for stage in stages}), out)
    plan, total, done = out / "plan.json", len(steps) + 2, list[Done]()
    for number, step in enumerate(steps, 1):
        done.append(_recorded(_paced(step, recipe, plan), f"{number}/{total}", plan))
    classifier = next(step for step in steps if step.stage.name == "classifier")
    for step in _untrained_steps(classifier, _runs(recipe, plan)):
        done.append(_recorded(step, f"{total - 1}/{total}", plan))
    done.append(_recorded(_comparison_step(recipe, classifier, done, out), f"{total}/{total}", plan))
    return _conclude(out, done, remembered(plan))


# ---- how long


def _paced(step: Step, recipe: Recipe, plan: Path) -> Step:
    """The encoder with as many steps as fit into the time for it on this machine; every other step as it is.

    The number is remembered: a second run, or one that goes on, must train exactly as long as the first.
    """
    if step.stage.name != "encoder" or "max_steps" in recipe.encoder.get("train", {}):
        return step
    if "encoder_steps" not in remembered(plan):
        say("measuring how fast this machine trains")
        seconds = step_seconds(step.recipe, recipe.measure_seconds)
        steps = steps_within(recipe.pretrain_seconds, seconds)
        remember(plan, encoder_steps=steps, step_seconds=round(seconds, 5))
        say(f"a step takes {1000 * seconds:.0f} ms: {steps:,} steps")
    train = replace(step.recipe.train, max_steps=remembered(plan)["encoder_steps"])
    return step._replace(recipe=replace(step.recipe, train=train))


def _runs(recipe: Recipe, plan: Path) -> int:
    """How many runs without pretraining fit into their time, each as long as the fine-tuning was."""
    if "untrained_runs" not in remembered(plan):
        fitting = int(recipe.untrained_seconds / remembered(plan)["seconds"]["classifier"])
        remember(plan, untrained_runs=min(max(fitting, 1), recipe.untrained_runs))
    return int(remembered(plan)["untrained_runs"])


def _recorded(step: Step, place: str, plan: Path) -> Done:
    """Run a step; the time of one that is not reused is remembered for the report."""
    done = run_step(step, place)
    seconds = remembered(plan).get("seconds", {})
    if not done.bundle.reused or done.name not in seconds:
        remember(plan, seconds=seconds | {done.name: round(done.seconds, 2)})
    return done


# ---- the same network, not pretrained


@recipe
class NewWeights:
    like: Path
    """Folder of a masked language model."""
    seed: int = 0
    """Of the new weights."""


def new_weights(recipe: NewWeights, out: Path) -> Bundle:
    """The network of another folder as it was before it learnt anything, with its tokenizer."""
    return run_stage("quickstart", recipe, out, [recipe.like], partial(_make_new, recipe))


def _make_new(recipe: NewWeights, work: Work) -> Manifest:
    model = new_model(MaskedLM.auto_model, open_config(recipe.like), recipe.seed)
    runtime = save_model(model, open_tokenizer(recipe.like), work.result)
    return Manifest(kind="model", stage="quickstart", runtime=runtime)


def _untrained_steps(classifier: Step, count: int) -> Iterator[Step]:
    """For each seed: new weights, and the fine-tuning of the classifier from them."""
    for seed in range(count):
        base, name = classifier.out.with_name(f"new-weights-{seed}"), f"untrained-{seed}"
        weights = NewWeights(like=classifier.recipe.base, seed=seed)
        yield Step(Stage(base.name, "quickstart", {}), weights, base, new_weights)
        changes = replace(classifier.recipe, base=base, train=replace(classifier.recipe.train, seed=seed))
        yield Step(Stage(name, "finetune", {}), changes, classifier.out.with_name(name), classifier.run)


# ---- the end


def _comparison_step(recipe: Recipe, classifier: Step, done: Sequence[Done], out: Path) -> Step:
    folders = {d.name: d.bundle.path for d in done}
    groups = {name: UNTRAINED for name in folders if name.startswith("untrained")} | GROUPS
    data = classifier.recipe.data
    compared = comparison.Recipe(
        contestants=tuple(
            Contestant(group=group, bundle=folders[name]) for name, group in groups.items() if name in folders
        ),
        pairs=tuple(Pair(old=old, new=new) for old, new in PAIRS),
        train=data.train,
        test=data.train.with_name("classify-test.jsonl"),
        budget_s=recipe.speed_seconds,
    )
    return Step(Stage("comparison", "quickstart", {}), compared, out / "comparison", comparison.run)


def _conclude(out: Path, done: Sequence[Done], plan: dict[str, Any]) -> dict[str, Any]:
    """Report, table, and what to do next."""
    compared = read_comparison(out / "comparison")
    model = out / "model"
    commands = [f"{program()} serve {shlex.quote(str(model))}", curl(compared.right or compared.wrong)]
    report = write_report(out, {d.name: d.bundle for d in done}, compared, plan, commands)
    say(terminal_table(compared))
    say("\nserve the result:\n  " + commands[0] + "\nand ask it, from another terminal:\n  " + commands[1])
    results = {result.group: result.accuracy.value for result in compared.results}
    return summary(out, done) | {"scores": results, "report": str(report), "model": str(model)}


def program() -> str:
    """What to type for `lathe`: its path where the shell does not find it."""
    if shutil.which("lathe"):
        return "lathe"
    beside = Path(sys.executable).with_name("lathe")
    return shlex.quote(str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside))


def curl(examples: Sequence[Example]) -> str:
    """A request with a real row: the shortest example."""
    text = min((example.text for example in examples), key=len)
    body = shlex.quote(json.dumps({"rows": [{"text": text}]}))
    return f"curl -s http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d {body}"
