"""Linear layers whose products in bfloat16 are Lathe's own where the processor multiplies it.

The same function as under autocast, rounded less often: the bias is added, and the gradients of weight and bias are
summed, in float32, and none of them is rounded to bfloat16 in between.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from lathe.core.exchange import exchange
from lathe.core.native import products


def fuse(model: nn.Module) -> None:
    """Linear layers of ``model`` compute their products in C where they can, call by call; undone by `unfuse`."""
    exchange(model, nn.Linear, FastLinear)
    exchange(model, Conv1D, FastConv1D)


def unfuse(model: nn.Module) -> None:
    """The model as transformers made it."""
    exchange(model, FastLinear, nn.Linear)
    exchange(model, FastConv1D, Conv1D)


class FastLinear(nn.Linear):
    """`nn.Linear`, y = x Wᵀ + b. Made by changing a module's class."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if torch.is_autocast_enabled("cpu") and _suits(input, self.weight, self.bias, self.in_features):
            found: Tensor = linear(input, self.weight, self.bias, turned=False)
            return found
        return super().forward(input)


class FastConv1D(Conv1D):
    """GPT-2's linear layer, y = x W + b. Made by changing a module's class."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu") and _suits(x, self.weight, self.bias, self.nx):
            found: Tensor = linear(x, self.weight, self.bias, turned=True)
        else:
            found = super().forward(x)
        return found


@torch.compiler.disable  # type: ignore[untyped-decorator]
def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, turned: bool) -> Tensor:
    """x Wᵀ + b in bfloat16, or x W + b where ``turned``.  [..., K], [N, K] or [K, N], [N] -> [..., N]"""
    found: Tensor = _Linear.apply(x, weight, bias, turned)
    return found


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _suits(x: Tensor, weight: Tensor, bias: Tensor | None, inputs: int) -> bool:
    return (
        torch.get_autocast_dtype("cpu") == torch.bfloat16
        and x.dtype in (torch.float32, torch.bfloat16)
        and all(p is None or (p.dtype == torch.float32 and p.is_contiguous()) for p in (weight, bias))
        and x.shape[-1] == inputs
        and products.suits(x.numel() // inputs, weight)
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool) -> Tensor:
        lines = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        ctx.save_for_backward(lines, weight)
        ctx.shape, ctx.dtype, ctx.turned = x.shape, x.dtype, turned
        out = (products.input_gradient if turned else products.product)(lines, weight, bias)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        dy = grads[0].reshape(-1, grads[0].shape[-1]).to(torch.bfloat16)
        dx = dw = sums = None
        if needs_x:
            gradient = products.product if ctx.turned else products.input_gradient
            dx = gradient(dy, weight, dtype=ctx.dtype).view(ctx.shape)
        if needs_weight and not ctx.turned:
            sums = dy.new_empty(dy.shape[1], dtype=torch.float32) if needs_bias else None
            dw = products.weight_gradient(dy, x, sums)
        elif needs_weight:
            dw = products.weight_gradient(x, dy)
        if needs_bias and sums is None:
            sums = dy.sum(0, dtype=torch.float32)
        return dx, dw, sums, None
