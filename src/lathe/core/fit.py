"""A training run that survives: it starts from the newest good checkpoint, saves itself, logs, and stops when asked."""

import hashlib
import math
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch._subclasses.fake_tensor import is_fake
from transformers import PreTrainedModel

from lathe.core import activations, checkpoint, learn, linear, native, packing, parallel, tables
from lathe.core.average import Average
from lathe.core.batches import AnyPlan, Joined, Source, StepBatches, ahead, batches
from lathe.core.checkpoint import tensors_digest
from lathe.core.compilation import compiled_layers
from lathe.core.errors import DiskError, LatheError, RecipeError
from lathe.core.health import Health
from lathe.core.keyed import row_seeds
from lathe.core.learn import BadStep, State, Step, Train
from lathe.core.recompute import keep_activations, recompute_layers
from lathe.core.report import Meter, progress, say
from lathe.core.runtime import StopFlag, autocast, device, dtype_of, stop_flag
from lathe.core.types import Objective, Symbols
from lathe.core.work import Work

T = TypeVar("T", bound=Train)

SAVE_EVERY_S = 120.0
"""Seconds between checkpoints where ``train.save_steps`` is not given."""

ENOUGH = "enough"
"""Key of ``memory``: true where the caller wants no further step, and the run ends as it would after its last."""


PADDED_WINDOW = 32
"""Steps among which rows of like length are gathered where a family cannot run without padding."""


@dataclass(frozen=True)
class Course:
    """What is learnt, from what, for how long."""

    objective: Objective
    source: Source
    symbols: Symbols
    plan: AnyPlan
    total: int  # steps


def fit(
    model: PreTrainedModel, course: Course, config: Train, work: Work, memory: dict[str, Any]
) -> Generator[Step, None, None]:
    """Yield after every step; the caller may evaluate between two steps, and keep in ``memory`` what must survive.

    The caller always sees the model that is to be scored and saved, also when the run has ended: where
    ``train.ema_decay`` is given, that is the average of the weights, which the next step does not see.

    With ``memory[ENOUGH]`` the caller ends the run after the step that it was given, on all ranks.

    The same call after a kill goes on from the newest checkpoint with ``memory`` as it was there, and takes exactly the
    steps that an unbroken run would have taken. Raises ``Stopped`` after saving when SIGINT or SIGTERM came.

    With several ranks all of them take the steps, rank 0 alone yields and writes, and the others raise ``Released`` at
    the end: they need nothing of what the caller does between two steps and after the last.
    """
    if config.max_rewinds and config.save_steps is None:
        raise RecipeError("train.max_rewinds: give train.save_steps too: where a rewind ends must not be up to a clock")
    plan = _prepared(model, course.plan, config)
    average = _average(model, config)
    state = _resume(model, config, average, work, memory)
    _refuse_unlike(model, course, state)
    parallel.once(partial(work.rewind_log, state.step))
    given = (course.source, course.objective, course.symbols, plan, config.tokens_per_batch)
    steps = ahead(batches(*given, start=state.step, ranks=parallel.ranks()))
    saver = checkpoint.Saver(work.checkpoints, config.save_total_limit, partial(_not_saved, work))
    with (
        closing(steps),
        stop_flag() as stop,
        saver,
        compiled(model, course, plan, config),
        progress("training", course.total, "steps") as meter,
    ):
        meter.skip(state.step)
        saved_s = time.perf_counter()
        tell = partial(_tell, model, course, config, work)
        go_back = partial(_go_back, model, state, config, work, saver)
        taken = learn.train(model, course.objective, steps, config, course.total, state, tell, go_back)
        for step in () if ENOUGH in memory else taken:
            if parallel.leads():
                _record(step, work, meter)
                with _to_be_saved(average):
                    yield step
            asked, enough = _asked_of_any(stop, memory)
            over = enough or step.number == course.total
            last = over or bool(asked.signum)
            if last or _is_due(step, config, saved_s):
                _save(saver, model, state, config, memory, work, last)
                saved_s = time.perf_counter()
            saver.check()
            if over:
                break
            _leave_if(asked, f"step {step.number} of {course.total}, saved in {work.path}")
    _asked_of_any(stop, memory)[0].raise_if_set(f"the last of {state.step} steps, all saved in {work.path}")
    _refuse_unlike(model, course, state)
    if not parallel.leads():
        raise parallel.Released
    if average is not None:
        average.exchange()


def _asked_of_any(stop: StopFlag, memory: Mapping[str, Any]) -> tuple[StopFlag, bool]:
    """A signal to one rank stops all, after the same step, and so does what the caller on rank 0 has had enough of."""
    signums, enough = zip(*parallel.gather([stop.signum, memory.get(ENOUGH, False)]), strict=True)
    return StopFlag(max(signums)), any(enough)


def _leave_if(asked: StopFlag, reached: str) -> None:
    if asked.signum:
        parallel.barrier()  # nobody leaves, and is missed, before all is saved
        asked.raise_if_set(reached)


def _prepared(model: PreTrainedModel, plan: AnyPlan, config: Train) -> AnyPlan:
    """Set the model up for training; returns the plan that suits how it runs."""
    if config.gradient_checkpointing:
        recompute_layers(model)
    if reason := quicken(model):
        say(f"runs padded, rows of like length together: {reason}")
        return plan.gathered(PADDED_WINDOW)
    return plan


def compiled(model: PreTrainedModel, course: Course, plan: AnyPlan, config: Train) -> AbstractContextManager[None]:
    """Within it the model's layers are compiled where the recipe says so, for the first step of the run."""
    if not config.torch_compile:
        return nullcontext()
    given = (course.source, course.objective, course.symbols, plan, config.tokens_per_batch)
    first = next(batches(*given, ranks=parallel.ranks()))
    return compiled_layers(model, partial(learn.go_through, model, course.objective, first, config))


def _average(model: PreTrainedModel, config: Train) -> Average | None:
    return None if config.ema_decay is None else Average(model, config.ema_decay)


def _to_be_saved(average: Average | None) -> AbstractContextManager[None]:
    """Within it the model is the one to be scored and saved."""
    return nullcontext() if average is None else average.in_place()


def quicken(model: PreTrainedModel) -> str | None:
    """Make training steps of ``model`` cheaper; what they compute stays, and dropout draws from the same distribution.

    Undone by `plain`. Returns why it runs padded, where it does.
    """
    _own_weights(model)
    packing.fast_dropout(model)
    activations.fuse(model)
    linear.fuse(model)
    packing.fuse_layers(model)
    reason = packing.enable(model)
    if reason is None:
        tables.keep_gradients(model)
    return reason


def _own_weights(model: PreTrainedModel) -> None:
    """Weights that were opened are a file's pages: whoever writes to it changes them, and our first update is slow."""
    for parameter in model.parameters():
        if parameter.device.type == "cpu" and not is_fake(parameter):
            parameter.data = parameter.data.clone()


def plain(model: PreTrainedModel) -> None:
    """The model as transformers made it."""
    packing.disable(model)
    packing.plain_layers(model)
    packing.torch_dropout(model)
    activations.unfuse(model)
    linear.unfuse(model)
    tables.release_gradients(model)
    keep_activations(model)


def settled(config: T, work: Work) -> T:
    """The options with the precision that this run began with: a busy machine must not resume in another one.

    Says where Lathe's operations in C are missing, or a run goes on with others than it began with.
    """
    _tell_of_operations(work)
    choose = lambda: "bf16" if dtype_of(config.precision) == torch.bfloat16 else "fp32"  # noqa: E731
    chosen = parallel.once(lambda: work.settle("precision", choose))
    return replace(config, precision="bf16" if chosen == "bf16" else "fp32")


def _tell_of_operations(work: Work) -> None:
    if device().type != "cpu":
        return
    missing = native.missing()
    now = "torch's" if missing else f"Lathe's in C, products by {native.unit() or 'torch'}"
    began = parallel.once(lambda: work.settle("operations", lambda: now))
    if missing:
        say(f"operations: torch's, which are slower; Lathe's could not be compiled: {missing}")
    if began != now:
        say(
            f"{work.path}: began with operations that are {began}, and goes on with {now}: other dropout is drawn, or "
            "products are rounded elsewhere, and it does not end with the weights of an unbroken run"
        )


def _refuse_unlike(model: PreTrainedModel, course: Course, state: State) -> None:
    """Raises ``LatheError`` where ranks have read other rows, or hold other weights or another optimizer's memory."""
    if parallel.ranks().size > 1:
        rows = hashlib.sha256(course.plan.lengths.tobytes() + course.source.keys.tobytes()).hexdigest()
        weights = sorted(learn.saved_tensors(model, state).items())
        parallel.refuse_unlike({"rows": rows, "weights": tensors_digest(tensor for _, tensor in weights)})


def _resume(
    model: PreTrainedModel, config: Train, average: Average | None, work: Work, memory: dict[str, Any]
) -> State:
    """The state of the newest good checkpoint, or that of a run that begins."""
    state = State(config.optimizers(model), average=average)
    found = checkpoint.newest(work.checkpoints)
    if found is not None:
        learn.restore(model, found, state)
        state.health = Health(**found.values["health"])
        memory.update(found.values["memory"])
    return state


def _is_due(step: Step, config: Train, saved_s: float) -> bool:
    if config.save_steps is not None:
        return step.number % config.save_steps == 0
    return time.perf_counter() - saved_s >= SAVE_EVERY_S


def _save(
    saver: checkpoint.Saver,
    model: PreTrainedModel,
    state: State,
    config: Train,
    memory: dict[str, Any],
    work: Work,
    last: bool,
) -> None:
    """Begin to save; the ``last`` save of a process must succeed, and is waited for.

    A rewind goes back to the newest checkpoint that was due, not asked for by a signal, after a good step.
    """
    health = state.health
    if config.max_rewinds and config.save_steps and state.step % config.save_steps == 0 and health.bad_steps == 0:
        health.anchor = state.step
    if not parallel.leads():
        return
    values = {"health": asdict(health), "memory": memory}
    try:
        work.flush_log()  # first: a resumed run does not write these lines again
        saver.start(state.step, learn.saved_tensors(model, state), values, spare=health.anchor)
        if last:
            saver.finish()
    except DiskError as error:
        if last:
            raise
        _not_saved(work, state.step, error)


def _not_saved(work: Work, step: int, error: DiskError) -> None:
    say(f"step {step}: not saved: {error.found}; training goes on, and the next save tries again")
    work.log("not saved", step=step, reason=error.found)


def _go_back(
    model: PreTrainedModel, state: State, config: Train, work: Work, saver: checkpoint.Saver, bad: BadStep
) -> None:
    """Weights, the optimizer's memory and the window of the last good checkpoint; its run goes on after ``bad``.

    The steps in between count as passed over: neither the order of the data nor the schedule is touched, and a run that
    is killed afterwards comes here again. Raises ``bad`` where there is nothing to go back to, or no rewind left.
    """
    health = state.health
    if health.anchor is None or health.rewinds == config.max_rewinds:
        raise bad
    saver.check(wait=True)
    parallel.barrier()  # rank 0 has saved it
    found = checkpoint.of_step(work.checkpoints, health.anchor)
    if not all(parallel.gather(found is not None)) or found is None:
        raise bad
    learn.restore(model, found, state)
    state.step = bad.step - 1
    state.health = replace(Health(**found.values["health"]), anchor=health.anchor, rewinds=health.rewinds + 1)
    say(f"step {bad.step}: went back to the weights of step {found.step}; the steps since then are passed over")
    if parallel.leads():
        work.log("rewind", step=bad.step, to=found.step)


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
    """Say and log what was wrong with a step, and which of its rows: without a finite loss alone, or else the worst."""
    if not parallel.leads():
        return
    losses = {row: _loss_alone(model, course, config, batches.epoch, row) for row in batches.rows.tolist()}
    rows = [row for row, loss in losses.items() if not math.isfinite(loss)]
    shown = ", ".join(_named(row, course.source) for row in rows[:10]) + (", ..." if len(rows) > 10 else "")
    whose = f"of its rows these have no finite loss alone: {shown}"
    if not rows:
        rows = [max(losses, key=lambda row: losses[row])]
        worst = _named(rows[0], course.source)
        whose = f"each of its rows alone is finite, row {worst} has the highest loss, {losses[rows[0]]:.4g}"
    say(f"step {bad.step}: {bad.found}; no update; {whose} (training rows as kept, counted from 1)")
    work.log("bad step", step=bad.step, found=bad.found, rows=rows)


def _named(row: int, source: Source) -> str:
    """The number of a row for people, from 1; where several tasks have rows, with its task and among its rows."""
    own, number = source.where(row) if isinstance(source, Joined) else (source, row)
    owner = getattr(own, "owner", None)
    return str(row + 1) if owner is None else f"{owner} {number + 1}"


def _loss_alone(model: PreTrainedModel, course: Course, config: Train, epoch: int, row: int) -> float:
    """The loss of one training row, in nats."""
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    batch = course.objective.collate(
        [course.source[row]], row_seeds(course.plan.seed, epoch, course.source.keys[[row]]), course.symbols
    )
    with torch.no_grad(), autocast(place, dtype):
        parts = course.objective.loss(model, batch.to(place))
    return math.fsum(part.weight * float(part.total) / max(part.items, 1) for part in parts)


def keep_best(work: Work, model: PreTrainedModel, step: int) -> None:
    """Keep the weights of the best step so far, in the place of the one before."""
    checkpoint.save(work.path / "best", step, learn.saved_tensors(model), {}, keep=1)


def restore_best(work: Work, model: PreTrainedModel) -> None:
    """Put the weights back that ``keep_best`` has kept."""
    found = checkpoint.newest(work.path / "best")
    if found is None:
        raise LatheError(f"{work.path / 'best'}: the best weights are damaged; delete {work.path} and run again")
    learn.restore(model, found)
