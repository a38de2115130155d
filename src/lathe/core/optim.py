"""Update rules and learning-rate schedules."""

import math
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from lathe.core.recipe import recipe

Groups: TypeAlias = list[dict[str, object]]


@recipe
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): theta <- theta - lr (m / (sqrt(v) + eps) + decay theta)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(0.01, ge=0)
    """Decay of matrices; biases and norms are never decayed."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the running mean of the gradient."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the running mean of its square."""
    adam_epsilon: float = Field(1e-8, gt=0)
    """Added to the denominator."""

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        betas = (self.adam_beta1, self.adam_beta2)
        return torch.optim.AdamW(groups(model, self.weight_decay), lr=0.0, betas=betas, eps=self.adam_epsilon, fused=True)


@recipe
class SGD:
    """Stochastic gradient descent: theta <- theta - lr (g + decay theta)."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(0.0, ge=0, lt=1)
    """Decay of the running sum of gradients."""
    weight_decay: float = Field(0.0, ge=0)
    """Decay of matrices; biases and norms are never decayed."""

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups(model, self.weight_decay), lr=0.0, momentum=self.momentum, fused=True)


AnyOptimizer = Annotated[AdamW | SGD, Field(discriminator="kind")]


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
    """Half a cosine, from 1 down to 0 (Loshchilov and Hutter, 2017)."""

    kind: Literal["cosine"] = "cosine"

    def __call__(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


@recipe
class WarmupStableDecay:
    """The full rate for most of the run, then straight down to 0 (Hu et al., 2024)."""

    kind: Literal["wsd"] = "wsd"
    decay_ratio: float = Field(0.2, gt=0, le=1)
    """Share of the steps after the warm-up in which the rate falls."""

    def __call__(self, progress: float) -> float:
        return min(1.0, (1.0 - progress) / self.decay_ratio)


AnySchedule = Annotated[Constant | Linear | Cosine | WarmupStableDecay, Field(discriminator="kind")]


def rate_factor(schedule: AnySchedule, step: int, total: int, warmup: int) -> float:
    """Factor of the learning rate for step ``step`` (0-based) of ``total``; it rises over the first ``warmup`` steps."""
    if step < warmup:
        return (step + 1) / warmup
    return schedule((step - warmup) / max(1, total - warmup))


def groups(model: nn.Module, weight_decay: float) -> Groups:
    """Trainable parameters in two groups: matrices decay, vectors (biases, norms) do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def state_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's memory as flat names, ``parameter/slot``: no pickle is needed to save it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{slot}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }


def restore_state(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Undo ``state_tensors``: every slot gets exactly the bits it had."""
    parameters = dict(model.named_parameters())
    for flat, value in tensors.items():
        name, _, slot = flat.rpartition("/")
        parameter = parameters[name]
        place = "cpu" if slot == "step" and not parameter.is_cuda else parameter.device
        optimizer.state[parameter][slot] = value.to(place)
