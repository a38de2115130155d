"""The training loop. It yields after every step; the caller logs, evaluates, saves or stops."""

import math
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from lathe.core import optim, parallel, profile, tables
from lathe.core.average import Average
from lathe.core.batches import StepBatches
from lathe.core.checkpoint import Checkpoint
from lathe.core.coupled import whole_step
from lathe.core.errors import LatheError
from lathe.core.health import Health
from lathe.core.keyed import scalar_seed
from lathe.core.optim import AdamW, AnyOptimizer, AnySchedule, Linear, Optimizers
from lathe.core.recipe import recipe
from lathe.core.runtime import Precision, autocast, draw_from, dtype_of
from lathe.core.types import Batch, Objective, Part, upcast

T = TypeVar("T")

MODEL, OPTIMIZER, AVERAGE = "model/", "optimizer/", "average/"
"""What the tensors of a checkpoint belong to."""


@recipe
class Train:
    """What every training run can be told."""

    learning_rate: float = Field(1e-4, gt=0)
    """Highest learning rate."""
    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps; instead of epochs where given."""
    tokens_per_batch: int = Field(16384, ge=1)
    """Largest micro-batch in tokens; it bounds memory and does not change the result."""
    optimizer: AnyOptimizer = AdamW()
    """Update rule."""
    lr_scheduler: AnySchedule = Linear()
    """How the learning rate falls after the warm-up."""
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    seed: int = 0
    """Of the order of rows, masks, dropout and new weights."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Score and save the average of the weights over the steps, each step counting this much less than the next."""
    precision: Precision = "auto"
    """Matrix products in fp32 or bf16; auto measures which is faster here. Weights stay float32."""
    gradient_checkpointing: bool = False
    """Layers keep their inputs only and run again in the backward pass: less memory, a third more arithmetic."""
    torch_compile: bool = False
    """Layers compiled by torch.compile: a minute or so at every start, then fewer and larger operations; for GPUs."""
    max_bad_steps: int = Field(0, ge=0)
    """Steps in a row that may be passed over, without an update: their loss or gradient is not finite, or a spike."""
    spike_sigma: float | None = Field(None, gt=0)
    """A loss or gradient norm this many deviations above the mean of the last 128 steps is a spike (6 is usual)."""
    max_rewinds: int = Field(0, ge=0)
    """After too many bad steps, times to go back to the last good checkpoint and on after them; needs save_steps."""
    save_steps: int | None = Field(None, ge=1)
    """Steps between checkpoints; without it one every two minutes."""
    save_total_limit: int = Field(2, ge=1)
    """Checkpoints kept while the run lasts."""

    def optimizers(self, model: PreTrainedModel) -> Optimizers:
        """The update rules of a model's trainable parameters."""
        return self.optimizer(model)


class BadStep(LatheError):  # noqa: N818 - a step, and what was wrong with it
    """A step whose loss or gradient is not finite, or a spike. Weights and the optimizer's memory are as before it."""

    def __init__(self, step: int, found: str, way_out: str) -> None:
        super().__init__(f"step {step}: {found}; no update was made. {way_out}")
        self.step, self.found = step, found

    def end_run(self) -> None:
        """Raise it."""
        raise self


class Step(NamedTuple):
    """What one optimizer step did."""

    number: int  # 1-based: the step that has just been taken
    epoch: int
    loss: float  # nats: sum over parts of weight * total / items
    parts: dict[str, float]  # nats per item of each part
    items: dict[str, int]
    grad_norm: float  # before clipping
    learning_rate: float
    rows: int
    tokens: int
    seconds: float


@dataclass
class State:
    """What a resumed run needs besides the model; the loop advances it, the caller saves it."""

    optimizers: Optimizers
    step: int = 0
    average: Average | None = None
    health: Health = field(default_factory=Health)


def train(
    model: nn.Module,
    objective: Objective,
    steps: Iterable[StepBatches],
    config: Train,
    total: int,
    state: State,
    passed_over: Callable[[StepBatches, BadStep], None] = lambda _, __: None,
    go_back: Callable[[BadStep], None] = BadStep.end_run,
) -> Iterator[Step]:
    """Take steps until ``total`` have been taken in all; ``steps`` must begin with step ``state.step``.

    A bad step updates nothing, is yielded without a finite loss, and ``passed_over`` is told. After too many in a row
    ``go_back`` puts an earlier state in the model's place and the steps go on, or it raises ``BadStep``.
    """
    steps, watch = iter(steps), profile.current()
    while state.step < total:
        batches = next(steps)
        try:
            with watch(batches):
                taken = train_step(model, objective, batches, config, total, state)
        except BadStep as bad:
            passed_over(batches, bad)
            state.health.bad_steps += 1
            if state.health.bad_steps > config.max_bad_steps:
                go_back(bad)
            state.step += 1
            nan = math.nan
            taken = Step(state.step, batches.epoch, nan, {}, {}, nan, 0.0, len(batches.rows), batches.tokens, 0.0)
        yield taken


def train_step(
    model: nn.Module, objective: Objective, step: StepBatches, config: Train, total: int, state: State
) -> Step:
    """One optimizer step, the same however its rows are cut into micro-batches and dealt to ranks."""
    started_s = time.perf_counter()
    _set_to_learn(model)  # here, not in train(): the caller may have evaluated between two steps
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    ranks, items = parallel.ranks(), parallel.add_up(_sum_items(step.micro))
    totals: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)

    def run(compute: Callable[[nn.Module, Batch], T], number: int, batch: Batch) -> T:
        draw_from(scalar_seed("dropout", config.seed, state.step, number * ranks.size + ranks.rank))
        with autocast(place, dtype):
            return compute(model, batch.to(place))

    for number, batch in enumerate(whole_step(objective, step.micro, run)):
        parts = run(objective.loss, number, batch)
        step_loss(parts, items).backward()
        for part in parts:
            before = totals.get(part.name, torch.zeros((), device=place))
            totals[part.name] = before + upcast(part.total.detach())  # read after the last one: reading waits for a GPU
            weights[part.name] = part.weight
    tables.add_up(model)
    sums = parallel.add_up({name: float(total) for name, total in totals.items()})
    values = {name: total / max(items[name], 1) for name, total in sums.items()}
    weights = dict(ChainMap(*parallel.gather(weights)))  # a rank without rows knows none
    loss = sum(weights[name] * value for name, value in values.items())
    norm = tables.norm(model)
    if objection := state.health.objection(loss, norm, config.spike_sigma):
        raise BadStep(
            state.step + 1,
            objection,
            f"Lower train.learning_rate (now {config.learning_rate}), set train.precision=fp32, or let such steps pass "
            "with train.max_bad_steps",
        )
    rate = config.learning_rate * learning_rate_factor(config, state.step, total)
    for optimizer in state.optimizers:
        optim.update(optimizer, model, rate, optim.clip_factor(norm, config.max_grad_norm))
    if state.average is not None:
        state.average.update()
    state.step += 1
    state.health.took(loss, norm)
    seconds = time.perf_counter() - started_s
    return Step(state.step, step.epoch, loss, values, items, norm, rate, len(step.rows), step.tokens, seconds)


def go_through(model: nn.Module, objective: Objective, step: StepBatches, config: Train) -> None:
    """Forward and backward of a step that is not taken; gradients are left to add up."""
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    model.train()
    for batch in step.micro:
        with autocast(place, dtype):
            parts = objective.loss(model, batch.to(place))
        step_loss(parts, batch.items).backward()


def step_loss(parts: Sequence[Part], items: Mapping[str, int]) -> Tensor:
    """This micro-batch's share of the step's loss: sum of weight * total / items *of the whole step*.

    A part without items adds 0, and keeps its (zero) gradient so that every parameter gets one.
    """
    terms = [part.weight * part.total / max(items[part.name], 1) for part in parts]
    return torch.stack([upcast(term) for term in terms]).sum()


def learning_rate_factor(config: Train, step: int, total: int) -> float:
    return optim.rate_factor(config.lr_scheduler, step, total, math.ceil(config.warmup_ratio * total))


def saved_tensors(model: nn.Module, state: State | None = None) -> dict[str, Tensor]:
    """Everything exact resumption needs: weights, buffers, their average, the optimizer's memory; tied weights once."""
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            tensors[f"{MODEL}{name}"] = tensor
            seen.add(tensor.data_ptr())
    memory = optim.state_tensors(state.optimizers, model) if state is not None else {}
    average = state.average.tensors() if state is not None and state.average is not None else {}
    return tensors | _above(OPTIMIZER, memory) | _above(AVERAGE, average)


def restore(model: nn.Module, checkpoint: Checkpoint, state: State | None = None) -> None:
    """Put the model, and the optimizer where given, back exactly where ``checkpoint`` was taken.

    Raises ``LatheError`` where it is of another model, and says what differs.
    """
    _refuse_other(model, checkpoint)
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in _below(MODEL, checkpoint.tensors).items():
            own[name].copy_(tensor)
    if state is not None:
        optim.restore_state(state.optimizers, model, _below(OPTIMIZER, checkpoint.tensors))
        state.step = checkpoint.step
        if state.average is not None:
            state.average.restore(_below(AVERAGE, checkpoint.tensors))


def _above(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _refuse_other(model: nn.Module, checkpoint: Checkpoint) -> None:
    own = {name.removeprefix(MODEL): _kind(tensor) for name, tensor in saved_tensors(model).items()}
    kept = {name: _kind(tensor) for name, tensor in _below(MODEL, checkpoint.tensors).items()}
    differ = [name for name in own | kept if own.get(name) != kept.get(name)]
    learnt = {name for name, _ in model.named_parameters()}
    slots = _below(OPTIMIZER, checkpoint.tensors)
    strange = [name for name in slots if name.rpartition("/")[0] not in learnt]
    if differ or strange:
        lines = [f"{n}: {kept.get(n, 'absent')} there, {own.get(n, 'absent')} here" for n in differ]
        lines += [f"{name}: the optimizer's memory of no parameter of this model" for name in strange]
        shown = "\n".join(f"  {line}" for line in [*lines[:10], *(["..."] if len(lines) > 10 else [])])
        raise LatheError(
            f"{checkpoint.path}: is of another model; delete its work folder, or choose another -o. Differing:\n{shown}"
        )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _below(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _set_to_learn(model: nn.Module) -> None:
    """`train` visits every module: only after an evaluation."""
    if not model.training:
        model.train()


def _sum_items(micro: Sequence[Batch]) -> dict[str, int]:
    return {name: sum(batch.items[name] for batch in micro) for name in (micro[0].items if micro else ())}
