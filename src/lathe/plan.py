"""``lathe plan``: what a training recipe needs, in parameters, memory, arithmetic and time, before it is run."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from transformers.utils import logging

from lathe.core import runtime
from lathe.core.dry import SAVED, Needs, rehearse
from lathe.core.fit import SAVE_EVERY_S
from lathe.core.profile import peak_flops
from lathe.core.ready import Ready, Steps
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.trial import Trial, first_steps
from lathe.core.work import Work
from lathe.training import Training, open_training

PARTS = ("weights", "average", "gradients", "optimizer", "activations")
HEAP = 1.7
"""Bytes that a process on a CPU holds for each byte of its tensors: freed blocks are kept, and do not always fit."""


@recipe
class Recipe:
    recipe: Path
    """A recipe of `pretrain` or `finetune`: TOML with its `verb`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options on top of the file's: options.train.batch_size=64."""
    trial_seconds: float = Field(15.0, ge=0)
    """Seconds of training steps that are taken to measure time and memory; 0 takes none and allocates nothing."""


def run(recipe: Recipe) -> Told:
    """Read the files of a recipe as its run would, take its steps without memory, then a few for real if they fit."""
    training = open_training(recipe.recipe, recipe.options)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), ())
        logging.set_verbosity_error()
        training = _settled(training)
        ready = training.stage.prepare(training.recipe, work)
        steps = Steps(ready)
        needs = rehearse(ready, (steps.at(steps.typical), steps.at(steps.largest)))
        free = runtime.free_memory()
        fits = not free or _resident(needs, None) <= free
        trial = _trial_apart(training, work, recipe.trial_seconds) if recipe.trial_seconds and fits else None
    values = _figures(ready, steps, needs, trial, free)
    return Told("\n".join(_lines(f"{recipe.recipe}", training, values)), values)


def _settled(training: Training) -> Training:
    """With the precision that this machine takes where the recipe leaves it open."""
    runtime.set_up()
    train = training.recipe.train
    chosen = "bf16" if runtime.dtype_of(train.precision) == torch.bfloat16 else "fp32"
    return replace(training, recipe=replace(training.recipe, train=replace(train, precision=chosen)))


def _trial_apart(training: Training, work: Work, seconds: float) -> Trial | None:
    """The first steps, in a process of their own: what this one holds must not count."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_trial, training, work, seconds).result()
        except BrokenProcessPool:
            say("the trial steps were ended from outside, which is what a system without memory does; none is used")
            return None


def _trial(training: Training, work: Work, seconds: float) -> Trial:
    runtime.set_up()
    with runtime.memory_ahead(training.stage.ahead(training.recipe)) as ahead:
        ready = training.stage.prepare(training.recipe, work)
    return first_steps(ready, Steps(ready), work, seconds, ahead)


def _resident(needs: Needs, trial: Trial | None) -> int:
    """Bytes that the process will take for this run: measured, or else from what its tensors take."""
    if trial is not None:
        return trial.memory
    return round(needs.bytes * (HEAP if runtime.device().type == "cpu" else 1))


def _copied(ready: Ready, needs: Needs, seconds: float) -> int:
    """Bytes of the copy that a checkpoint is written from, where training goes on beside it; a GPU holds none."""
    every = ready.config.save_steps
    goes_on = seconds > SAVE_EVERY_S if every is None else every < ready.course.total
    return sum(needs.memory.get(part, 0) for part in SAVED) if goes_on and runtime.device().type == "cpu" else 0


def _figures(ready: Ready, steps: Steps, needs: Needs, trial: Trial | None, free: int) -> dict[str, Any]:
    tokens = int(steps.tokens.sum())
    precision = ready.config.precision
    peak = peak_flops(runtime.dtype_of(precision), runtime.device())
    training_flops = needs.training_flops / needs.tokens
    evaluations = ready.evaluations
    seconds = trial.whole_run(steps.tokens) if trial else training_flops * tokens / peak
    return {
        "family": ready.shape.model_type,
        "precision": precision,
        "parameters": {
            "all": needs.parameters,
            "trainable": needs.trainable,
            "embeddings": needs.embeddings,
            "rest": needs.parameters - needs.embeddings,
        },
        "steps": ready.course.total,
        "tokens": tokens,
        "memory": needs.memory
        | {
            "tensors": needs.bytes,
            "process": _resident(needs, trial) + _copied(ready, needs, seconds),
            "process_found": "measured" if trial else "estimated",
            "free": free,
        },
        "flops": {
            "forward_per_token": needs.forward_flops / needs.tokens,
            "training_per_token": training_flops,
            "total": training_flops * tokens,
            "peak_per_second": peak,
        },
        "time": {
            "training_seconds": seconds,
            "found": "measured" if trial else "bound",
            "trial_steps": len(trial.seconds) if trial else 0,
            "evaluations": evaluations.count if evaluations else 0,
            "evaluation_seconds": trial.evaluation_seconds_per_token * evaluations.tokens
            if trial and evaluations
            else None,
        },
    }


def _lines(name: str, training: Training, values: dict[str, Any]) -> Iterator[str]:
    parameters, memory, flops, time = (values[part] for part in ("parameters", "memory", "flops", "time"))
    yield f"{name}: lathe {training.verb}, {values['family']}, {values['precision']}; {runtime.processor()}"
    rest, tables = parameters["rest"], parameters["embeddings"]
    yield f"  parameters   {parameters['all']:,}: {tables:,} in embeddings, {rest:,} in the rest"
    if parameters["trainable"] != parameters["all"]:
        yield f"               {parameters['trainable']:,} of them are trained"
    yield f"  run          {values['steps']:,} steps, {values['tokens']:,} tokens"
    yield f"  memory       {_mib(memory['process'])} on top of the process, {memory['process_found']}{_of_free(memory)}"
    parts = [part for part in PARTS if memory.get(part)]
    shown = ", ".join(f"{part} {_mib(memory[part])}" for part in parts)
    yield f"               tensors of the largest step: {_mib(memory['tensors'])}: {shown}"
    forward, both = flops["forward_per_token"] / 1e6, flops["training_per_token"] / 1e6
    yield f"  arithmetic   {forward:,.1f} MFLOP a token forward, {both:,.1f} in training; {flops['total']:.3g} in all"
    yield f"               one large product here: {flops['peak_per_second'] / 1e9:,.0f} GFLOP/s"
    if time["found"] == "measured":
        yield f"  time         {_duration(time['training_seconds'])} of training, from {time['trial_steps']} steps"
    else:
        yield f"  time         at least {_duration(time['training_seconds'])} of training: all of it at that rate"
    if time["evaluation_seconds"] is not None:
        spent = _duration(time["evaluation_seconds"])
        yield f"               {spent} of evaluation, {time['evaluations']} times between the steps"
    if memory["free"] and memory["process"] > memory["free"]:
        yield (
            f"  This does not fit: {_mib(memory['free'])} are free. Lower train.tokens_per_batch (the result stays the "
            "same), set train.precision=bf16, take an optimizer with less state (train.optimizer=muon or sgd), or a "
            "smaller model"
        )


def _of_free(memory: dict[str, Any]) -> str:
    return f"; {_mib(memory['free'])} are free" if memory["free"] else ""


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
