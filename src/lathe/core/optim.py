"""Update rules and learning-rate schedules."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from lathe.core import native, tables
from lathe.core.adamw import OnePassAdamW
from lathe.core.muon import StackedMuon
from lathe.core.recipe import recipe

Groups: TypeAlias = list[dict[str, Any]]
Optimizers: TypeAlias = tuple[torch.optim.Optimizer, ...]
"""Update rules that share the parameters of a model among them."""


@recipe
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    theta <- theta - lr (m / (sqrt(v) + eps) + decay theta), with m and v corrected for their start at 0.
    """

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(0.01, ge=0)
    """Decay of matrices; biases and norms are never decayed."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the running mean of the gradient."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the running mean of its square."""
    adam_epsilon: float = Field(1e-8, gt=0)
    """Added to the denominator."""

    def __call__(self, model: nn.Module) -> Optimizers:
        return (self.over(groups(trainable(model), self.weight_decay)),)

    def over(self, groups: Groups) -> torch.optim.Optimizer:
        betas = (self.adam_beta1, self.adam_beta2)
        if native.takes([parameter for group in groups for parameter in group["params"]]):
            return OnePassAdamW(groups, lr=0.0, betas=betas, eps=self.adam_epsilon)
        return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=self.adam_epsilon, fused=True)


@recipe
class SGD:
    """Stochastic gradient descent: theta <- theta - lr (g + decay theta)."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(0.0, ge=0, lt=1)
    """Decay of the running sum of gradients."""
    weight_decay: float = Field(0.0, ge=0)
    """Decay of matrices; biases and norms are never decayed."""

    def __call__(self, model: nn.Module) -> Optimizers:
        return (
            torch.optim.SGD(groups(trainable(model), self.weight_decay), lr=0.0, momentum=self.momentum, fused=True),
        )


@recipe
class Muon:
    """Momentum whose matrices are made orthogonal (Jordan et al., 2024) for the layers' matrices, AdamW for the rest.

    The update is scaled to AdamW's usual size (Liu et al., 2025), so that both share one learning rate. Embeddings, the
    vocabulary head, biases and norms belong to AdamW.
    """

    kind: Literal["muon"] = "muon"
    momentum: float = Field(0.95, ge=0, lt=1)
    """Decay of the running sum of gradients."""
    weight_decay: float = Field(0.01, ge=0)
    """Decay of matrices, in both rules."""
    rest: AdamW = AdamW(adam_beta2=0.98)
    """The rule for everything that is not a matrix of a layer."""

    def __call__(self, model: nn.Module) -> Optimizers:
        tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)} | _vocabulary_head(model)
        matrices = [p for p in trainable(model) if p.ndim == 2 and id(p) not in tables]
        ours = {id(p) for p in matrices}
        rest = groups([p for p in trainable(model) if id(p) not in ours], self.rest.weight_decay)
        if not matrices:
            return (self.rest.over(rest),)
        return StackedMuon(matrices, 0.0, self.momentum, self.weight_decay), self.rest.over(rest)


AnyOptimizer = Annotated[AdamW | SGD | Muon, Field(discriminator="kind")]


@recipe
class Constant:
    """The full rate after the warm-up."""

    kind: Literal["constant"] = "constant"

    def __call__(self, progress: float) -> float:
        return 1.0


@recipe
class Linear:
    """Straight down to 0."""

    kind: Literal["linear"] = "linear"

    def __call__(self, progress: float) -> float:
        return 1.0 - progress


@recipe
class Cosine:
    """Half a cosine, from 1 down (Loshchilov and Hutter, 2017): low + (1 - low) (1 + cos(pi p)) / 2."""

    kind: Literal["cosine"] = "cosine"
    min_lr_rate: float = Field(0.0, ge=0, lt=1)
    """Share of the highest rate that it falls to."""

    def __call__(self, progress: float) -> float:
        return _above(self.min_lr_rate, 0.5 * (1.0 + math.cos(math.pi * progress)))


@recipe
class WarmupStableDecay:
    """The full rate for most of the run, then down (Hu et al., 2024).

    With d from 0 to 1 over the decay, the rate is 1 - d, or 1 - sqrt(d), which falls faster at first (Haegele et al.,
    2024).
    """

    kind: Literal["wsd"] = "wsd"
    decay_ratio: float = Field(0.2, gt=0, le=1)
    """Share of the steps after the warm-up in which the rate falls."""
    decay_type: Literal["linear", "1-sqrt"] = "linear"
    """How it falls."""
    min_lr_rate: float = Field(0.0, ge=0, lt=1)
    """Share of the highest rate that it falls to."""

    def __call__(self, progress: float) -> float:
        left = min(1.0, (1.0 - progress) / self.decay_ratio)
        return _above(self.min_lr_rate, left if self.decay_type == "linear" else 1.0 - math.sqrt(1.0 - left))


AnySchedule = Annotated[Constant | Linear | Cosine | WarmupStableDecay, Field(discriminator="kind")]


def rate_factor(schedule: AnySchedule, step: int, total: int, warmup: int) -> float:
    """Factor of the learning rate for 0-based ``step`` of ``total``; it rises over the first ``warmup`` steps."""
    if step < warmup:
        return (step + 1) / warmup
    return schedule((step - warmup) / max(1, total - warmup))


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> Groups:
    """Two groups: matrices decay, vectors (biases, norms) do not."""
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def at_rates(optimizers: Optimizers, factors: Mapping[nn.Parameter, float]) -> Optimizers:
    """The same update rules, each parameter at its own share of the learning rate."""
    for optimizer in optimizers:
        optimizer.param_groups[:] = [
            group | {"params": [p for p in group["params"] if factors[p] == factor], "lr_factor": factor}
            for group in optimizer.param_groups
            for factor in sorted({factors[p] for p in group["params"]})
        ]
    return optimizers


def update(optimizer: torch.optim.Optimizer, model: nn.Module, rate: float, factor: float) -> None:
    """One step at learning rate ``rate``, with gradients times ``factor``: that of clipping."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)
    kept = tables.kept(model)
    if isinstance(optimizer, OnePassAdamW):
        optimizer.update(factor, kept)
        return
    if factor != 1:
        tables.scale([p for group in optimizer.param_groups for p in group["params"]], kept, factor)
    optimizer.step()


def clip_factor(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied by: 1 up to ``max_norm``; as torch has it."""
    return max_norm / (norm + 1e-6) if norm > max_norm else 1.0


def state_tensors(optimizers: Optimizers, model: nn.Module) -> dict[str, Tensor]:
    """The optimizers' memory as flat names, ``parameter/slot``: no pickle is needed to save it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{slot}": value
        for optimizer in optimizers
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }


def restore_state(optimizers: Optimizers, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Undo ``state_tensors``: every slot gets exactly the bits it had."""
    for optimizer in optimizers:
        optimizer.state.clear()
    parameters = dict(model.named_parameters())
    owner = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for flat, value in tensors.items():
        name, _, slot = flat.rpartition("/")
        parameter = parameters[name]
        place = "cpu" if slot == "step" and not parameter.is_cuda else parameter.device
        owner[id(parameter)].state[parameter][slot] = value.to(place)


def _above(low: float, factor: float) -> float:
    """What falls to 0 falls to ``low``."""
    return low + (1.0 - low) * factor


def _vocabulary_head(model: nn.Module) -> set[int]:
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    return {id(head.weight)} if head is not None else set()
