"""The two halves of a fused encoder layer, before and after attention, with their gradients written out.

Notation of the gradients: d_x is that of x. Tensors are [N, width] in float32 or bfloat16; weights and their gradients
are float32.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lathe.core.native import between, products
from lathe.core.native.between import Addition
from lathe.core.native.calls import new_seed


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b.  [N, I], [O, I], [O] -> [N, O]"""
    if _by_unit(x, weight):
        return products.product(x, weight, bias)
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def input_gradient(d_out: Tensor, weight: Tensor, more: Tensor | None = None) -> Tensor:
    """d_out W + more.  [N, O], [O, I], [N, I] -> [N, I]"""
    if _by_unit(d_out, weight):
        return products.input_gradient(d_out, weight, more=more)
    weight = weight.to(d_out.dtype)
    return d_out @ weight if more is None else torch.addmm(more, d_out, weight)


def weight_gradient(d_out: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """d_outᵀ x in float32.  [N, O], [N, I] -> [O, I], the shape of the weight"""
    return products.weight_gradient(d_out, x) if _by_unit(x, weight) else (d_out.t() @ x).float()


def _by_unit(x: Tensor, weight: Tensor) -> bool:
    """Whether the processor multiplies bfloat16 by itself: then it takes the weight in float32 too."""
    return x.dtype == torch.bfloat16 and products.suits(len(x), weight)


def project(hidden_states: Tensor, heads: int, weights: list[Tensor], biases: list[Tensor]) -> tuple[Tensor, ...]:
    """Query, key and value [N, heads, width] of [1, N, D], and what the residual adds: the hidden states themselves.

    ``weights`` and ``biases`` are those of query, key and value; they make one product.
    """
    projected: tuple[Tensor, ...] = _Project.apply(hidden_states, heads, *weights, *biases)
    return projected


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_states: Tensor, heads: int, *parameters: Tensor) -> tuple[Tensor, ...]:
        x = hidden_states.flatten(0, 1)
        weight, bias = _one(parameters[:3], x.dtype), _one(parameters[3:], torch.float32)
        out = product(x, weight, bias).view(len(x), 3, heads, -1)
        ctx.save_for_backward(hidden_states, weight, *parameters[:3])
        return *out.unbind(1), hidden_states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_states, weight, *_ = ctx.saved_tensors
        needs = ctx.needs_input_grad
        d_out = _side_by_side(grads[:3])
        none = (None, None, None)
        d_x = input_gradient(d_out, weight, grads[3].flatten(0, 1)).view_as(hidden_states) if needs[0] else None
        d_weights = weight_gradient(d_out, hidden_states.flatten(0, 1), weight).chunk(3) if any(needs[2:5]) else none
        d_biases = between.sum_tokens(d_out).chunk(3) if any(needs[5:]) else none
        return _needed((d_x, None, *d_weights, *d_biases), needs)


class Rest(NamedTuple):
    """What the second half computes, besides its weights."""

    activation: str
    epsilons: tuple[float, float]
    dropouts: tuple[float, float]


def finish(context: Tensor, hidden_states: Tensor, rest: Rest, parameters: list[Tensor]) -> Tensor:
    """norm(y + dropout(W₂ f(W₁ y))), y = norm(x + dropout(W₀ context)), each W with its bias.

    [N, heads, width], [1, N, D] -> [1, N, D]; ``parameters``: W₀, b₀, γ₁, β₁, W₁, b₁, W₂, b₂, γ₂, β₂.
    """
    finished: Tensor = _Finish.apply(context, hidden_states, rest, *parameters)
    return finished


class _Finish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, context: Tensor, hidden_states: Tensor, rest: Rest, *parameters: Tensor) -> Tensor:
        w0, b0, gamma1, beta1, w1, b1, w2, b2, gamma2, beta2 = parameters
        ctx.heads, ctx.shape = context.shape, hidden_states.shape
        context, x = context.flatten(1), hidden_states.flatten(0, 1)
        seeds = [new_seed() if p else 0 for p in rest.dropouts]
        o1 = product(context, w0)
        y, moments1 = between.add_norm(Addition(o1, b0, x, gamma1, beta1, rest.epsilons[0], rest.dropouts[0], seeds[0]))
        h = product(y, w1)
        f = between.bias_activation(h, b1, rest.activation)
        o2 = product(f, w2)
        z, moments2 = between.add_norm(Addition(o2, b2, y, gamma2, beta2, rest.epsilons[1], rest.dropouts[1], seeds[1]))
        ctx.rest, ctx.seeds = rest, seeds
        ctx.save_for_backward(context, x, o1, moments1, y, h, f, o2, moments2, *parameters)
        return z.view(hidden_states.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        context, x, o1, moments1, y, h, f, o2, moments2, *parameters = ctx.saved_tensors
        w0, b0, gamma1, beta1, w1, b1, w2, b2, gamma2, beta2 = parameters
        rest, seeds, needs = ctx.rest, ctx.seeds, ctx.needs_input_grad[3:]
        added = Addition(o2, b2, y, gamma2, beta2, rest.epsilons[1], rest.dropouts[1], seeds[1])
        second = between.add_norm_backward(added, moments2, grads[0].contiguous().flatten(0, 1), None)
        d_f = input_gradient(second.x, w2)
        d_w2 = weight_gradient(second.x, f, w2) if needs[6] else None
        d_h, d_b1 = between.bias_activation_backward(h, b1, rest.activation, d_f)
        d_y = input_gradient(d_h, w1)
        d_w1 = weight_gradient(d_h, y, w1) if needs[4] else None
        added = Addition(o1, b0, x, gamma1, beta1, rest.epsilons[0], rest.dropouts[0], seeds[0])
        first = between.add_norm_backward(added, moments1, d_y, second.residual)
        d_context = input_gradient(first.x, w0)
        d_w0 = weight_gradient(first.x, context, w0) if needs[0] else None
        found = (
            d_w0, first.bias, first.gamma, first.beta, d_w1, d_b1, d_w2, second.bias, second.gamma, second.beta,
        )  # fmt: skip
        return d_context.view(ctx.heads), first.residual.view(ctx.shape), None, *_needed(found, needs)


def _needed(gradients: tuple[Tensor | None, ...], needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    """Nothing for frozen parameters."""
    return tuple(gradient if needed else None for gradient, needed in zip(gradients, needs, strict=True))


def _one(parts: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """Parameters one below the other."""
    whole = parts[0].new_empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=dtype)
    for part, place in zip(parts, whole.split([*map(len, parts)]), strict=True):
        place.copy_(part)
    return whole


def _side_by_side(parts: tuple[Tensor, ...]) -> Tensor:
    """[N, heads, width] three times -> [N, 3 * heads * width]; not copied where they lie so already."""
    first, size = parts[0], parts[0][0].numel()
    strides = (3 * size, first.shape[2], 1)
    for number, part in enumerate(parts):
        same = part.untyped_storage()._cdata == first.untyped_storage()._cdata
        if not same or part.stride() != strides or part.storage_offset() != first.storage_offset() + number * size:
            return torch.cat([part.flatten(1) for part in parts], 1)
    return first.as_strided((len(first), 3 * size), (3 * size, 1))
