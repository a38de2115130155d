"""A training run that survives: it starts from the newest good checkpoint, saves itself, logs, and stops when asked."""

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from lathe.core import activations, checkpoint, learn, packing, parallel, tables
from lathe.core.average import Average
from lathe.core.batches import Plan, Source, StepBatches, ahead, batches
from lathe.core.checkpoint import tensors_digest
from lathe.core.errors import LatheError
from lathe.core.keyed import row_seeds
from lathe.core.learn import BadStep, State, Step, Train
from lathe.core.recompute import keep_activations, recompute_layers
from lathe.core.report import Meter, progress, say
from lathe.core.runtime import StopFlag, autocast, dtype_of, stop_flag
from lathe.core.types import Objective, Symbols
from lathe.core.work import Work

T = TypeVar("T", bound=Train)

SAVE_EVERY_S = 120.0
"""Seconds between checkpoints where ``train.save_steps`` is not given."""


PADDED_WINDOW = 32
"""Steps among which rows of like length are gathered where a family cannot run without padding."""


@dataclass(frozen=True)
class Course:
    """What is learnt, from what, for how long."""

    objective: Objective
    source: Source
    symbols: Symbols
    plan: Plan
    total: int  # steps


def fit(model: PreTrainedModel, course: Course, config: Train, work: Work, memory: dict[str, Any]) -> Iterator[Step]:
    """Yield after every step; the caller may evaluate between two steps, and keep in ``memory`` what must survive.

    The caller always sees the model that is to be scored and saved, also when the run has ended: where
    ``train.ema_decay`` is given, that is the average of the weights, which the next step does not see.

    The same call after a kill goes on from the newest checkpoint with ``memory`` as it was there, and takes exactly the
    steps that an unbroken run would have taken. Raises ``Stopped`` after saving when SIGINT or SIGTERM came.

    With several ranks all of them take the steps, rank 0 alone yields and writes, and the others raise ``Released`` at
    the end: they need nothing of what the caller does between two steps and after the last.
    """
    plan = _prepared(model, course.plan, config)
    average = _average(model, config)
    state = State(config.optimizer(model), average=average)
    found = checkpoint.newest(work.checkpoints)
    if found is not None:
        learn.restore(model, found, state)
        memory.update(found.values)
    _refuse_unlike(model, course, state)
    parallel.once(partial(work.rewind_log, state.step))
    given = (course.source, course.objective, course.symbols, plan, config.tokens_per_batch)
    steps = ahead(batches(*given, start=state.step, ranks=parallel.ranks()))
    with closing(steps), stop_flag() as stop, progress("training", course.total, "steps") as meter:
        meter.skip(state.step)
        saved_s = time.perf_counter()
        tell = partial(_tell, model, course, config, work)
        for step in learn.train(model, course.objective, steps, config, course.total, state, tell):
            if parallel.leads():
                _record(step, work, meter)
                with _to_be_saved(average):
                    yield step
            asked = StopFlag(max(parallel.gather(stop.signum)))  # a signal to one rank stops all after the same step
            if parallel.leads() and (step.number == course.total or _is_due(step, config, saved_s, asked)):
                tensors = learn.saved_tensors(model, state)
                checkpoint.save(work.checkpoints, step.number, tensors, memory, config.save_total_limit)
                saved_s = time.perf_counter()
            if asked.signum:
                parallel.barrier()  # nobody leaves, and is missed, before all is saved
            asked.raise_if_set(f"step {step.number} of {course.total}, saved in {work.path}")
    _refuse_unlike(model, course, state)
    if not parallel.leads():
        raise parallel.Released
    if average is not None:
        average.exchange()


def _prepared(model: PreTrainedModel, plan: Plan, config: Train) -> Plan:
    """Set the model up for training; returns the plan that suits how it runs."""
    if config.gradient_checkpointing:
        recompute_layers(model)
    if reason := quicken(model):
        say(f"runs padded, rows of like length together: {reason}")
        return replace(plan, window=PADDED_WINDOW)
    return plan


def _average(model: PreTrainedModel, config: Train) -> Average | None:
    return None if config.ema_decay is None else Average(model, config.ema_decay)


def _to_be_saved(average: Average | None) -> AbstractContextManager[None]:
    """Within it the model is the one to be scored and saved."""
    return nullcontext() if average is None else average.in_place()


def quicken(model: PreTrainedModel) -> str | None:
    """Make training steps of ``model`` cheaper; what they compute stays, and dropout draws from the same distribution.

    Undone by `plain`. Returns why it runs padded, where it does.
    """
    packing.fast_dropout(model)
    activations.fuse(model)
    reason = packing.enable(model)
    if reason is None:
        tables.keep_gradients(model)
    return reason


def plain(model: PreTrainedModel) -> None:
    """The model as transformers made it."""
    packing.disable(model)
    packing.torch_dropout(model)
    activations.unfuse(model)
    tables.release_gradients(model)
    keep_activations(model)


def settled(config: T, work: Work) -> T:
    """The options with the precision that this run began with: a busy machine must not resume in another one."""
    choose = lambda: "bf16" if dtype_of(config.precision) == torch.bfloat16 else "fp32"  # noqa: E731
    chosen = parallel.once(lambda: work.settle("precision", choose))
    return replace(config, precision="bf16" if chosen == "bf16" else "fp32")


def _refuse_unlike(model: PreTrainedModel, course: Course, state: State) -> None:
    """Raises ``LatheError`` where ranks have read other rows, or hold other weights or another optimizer's memory."""
    if parallel.ranks().size > 1:
        rows = hashlib.sha256(course.plan.lengths.tobytes() + course.source.keys.tobytes()).hexdigest()
        weights = sorted(learn.saved_tensors(model, state).items())
        parallel.refuse_unlike({"rows": rows, "weights": tensors_digest(tensor for _, tensor in weights)})


def _is_due(step: Step, config: Train, saved_s: float, stop: StopFlag) -> bool:
    if stop.signum:
        return True
    if config.save_steps is not None:
        return step.number % config.save_steps == 0
    return time.perf_counter() - saved_s >= SAVE_EVERY_S


def _record(step: Step, work: Work, meter: Meter) -> None:
    if not math.isfinite(step.loss):  # `_tell` has told of it
        return
    work.log(
        "step",
        step=step.number,
        epoch=step.epoch,
        loss=round(step.loss, 6),
        grad_norm=round(step.grad_norm, 6),
        learning_rate=step.learning_rate,
        rows=step.rows,
        tokens=step.tokens,
        items=step.items,
        seconds=round(step.seconds, 5),
    )
    meter.advance(1, f"loss {step.loss:.3f}, {step.tokens / max(step.seconds, 1e-9):,.0f} tokens/s")


def _tell(
    model: PreTrainedModel, course: Course, config: Train, work: Work, batches: StepBatches, bad: BadStep
) -> None:
    """Say and log what was wrong with a step, and which of its rows have no finite loss by themselves."""
    if not parallel.leads():
        return
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    rows = []
    for row in batches.rows.tolist():
        seeds = row_seeds(course.plan.seed, batches.epoch, course.source.keys[[row]])
        batch = course.objective.collate([course.source[row]], seeds, course.symbols)
        with torch.no_grad(), autocast(place, dtype):
            parts = course.objective.loss(model, batch.to(place))
        if not all(torch.isfinite(part.total) for part in parts):
            rows.append(row)
    shown = ", ".join(str(row + 1) for row in rows[:10]) + (", ..." if len(rows) > 10 else "")
    whose = f"of its rows these have no finite loss alone: {shown}" if rows else "each of its rows alone is finite"
    say(f"step {bad.step}: {bad.found}; no update; {whose} (training rows as kept, counted from 1)")
    work.log("bad step", step=bad.step, rows=rows)


def keep_best(work: Work, model: PreTrainedModel, memory: dict[str, Any], step: int, score: float) -> None:
    """Keep the weights of the highest ``score`` so far; the earliest one wins a draw."""
    if score > memory.get("best_score", float("-inf")):
        memory |= {"best_score": score, "best_step": step}
        checkpoint.save(work.path / "best", step, learn.saved_tensors(model), {}, keep=1)


def restore_best(work: Work, model: PreTrainedModel) -> None:
    """Put the weights back that ``keep_best`` has kept."""
    found = checkpoint.newest(work.path / "best")
    if found is None:
        raise LatheError(f"{work.path / 'best'}: the best weights are damaged; delete {work.path} and run again")
    learn.restore(model, found)
