"""What stands between the matrix products of an encoder layer, without autograd: `packing.layers` differentiates."""

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from lathe.core.native.calls import at, has_memory, is_half, run, threshold
from lathe.core.native.operations import ACTIVATIONS


class Addition(NamedTuple):
    """norm(residual + dropout(x + bias)), where x and residual are [N, D] and the others float32 [D]."""

    x: Tensor
    bias: Tensor
    residual: Tensor
    gamma: Tensor
    beta: Tensor
    epsilon: float
    dropout: float
    seed: int


class _Addition(ctypes.Structure):
    """`addition` in layer.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "residual", "bias", "gamma", "beta")),
        *((name, ctypes.c_int64) for name in ("tokens", "width")),
        ("epsilon", ctypes.c_float),
        ("half", ctypes.c_int),
        ("threshold", ctypes.c_uint32),
        ("factor", ctypes.c_float),
        ("seed", ctypes.c_uint64),
    )


class _Gradients(ctypes.Structure):
    """`gradients` in layer.c."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("moments", "gradient", "more", "d_x", "d_residual", "d_bias", "d_gamma", "d_beta")
    )


def add_norm(a: Addition) -> tuple[Tensor, Tensor]:
    """The sum's norm [N, D], and mean and 1 / deviation of each row [N, 2] for the backward pass."""
    out = torch.empty_like(a.x)
    moments = a.x.new_empty(len(a.x), 2, dtype=torch.float32)
    if has_memory(out):
        run("norms", "add_norm", ctypes.byref(_call(a)), at(out), at(moments))
    return out, moments


class AdditionGradients(NamedTuple):
    """Those of `Addition`; without dropout x and residual have the same, in one memory."""

    x: Tensor
    residual: Tensor
    bias: Tensor
    gamma: Tensor
    beta: Tensor


def add_norm_backward(a: Addition, moments: Tensor, gradient: Tensor, more: Tensor | None) -> AdditionGradients:
    """``gradient`` and ``more`` [N, D] are added: the norm's output went two ways."""
    d_residual = torch.empty_like(a.x)
    d_x = torch.empty_like(a.x) if a.dropout else d_residual
    sums = a.bias.new_empty(3, a.x.shape[1])
    if has_memory(d_x):
        call = _Gradients(
            moments.data_ptr(), gradient.data_ptr(), None if more is None else more.data_ptr(),
            d_x.data_ptr() if a.dropout else None, d_residual.data_ptr(), *(x.data_ptr() for x in sums.unbind()),
        )  # fmt: skip
        run("norms", "add_norm_backward", ctypes.byref(_call(a)), ctypes.byref(call))
    return AdditionGradients(d_x, d_residual, *sums.unbind())


def bias_activation(x: Tensor, bias: Tensor, kind: str) -> Tensor:
    """f(x + bias), where f is one of `ACTIVATIONS`.  [N, F], float32 [F] -> [N, F]"""
    out = torch.empty_like(x)
    if has_memory(x):
        number = ACTIVATIONS.index(kind)
        run("activations", "bias_activate", at(out), at(x), at(bias), *_shape(x), is_half(x), number)
    return out


def bias_activation_backward(x: Tensor, bias: Tensor, kind: str, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x, in the memory of ``gradient``, and of the bias."""
    d_bias = torch.empty_like(bias)
    if has_memory(x):
        at_gradient = at(gradient)
        run(
            "activations", "bias_activate_backward",
            at_gradient, at(d_bias), at(x), at(bias), at_gradient, *_shape(x), is_half(x), ACTIVATIONS.index(kind),
        )  # fmt: skip
    return gradient, d_bias


def sum_tokens(x: Tensor) -> Tensor:
    """The gradient of a bias.  [N, D] -> float32 [D]"""
    out = x.new_empty(x.shape[1], dtype=torch.float32)
    if has_memory(x):
        run("other arithmetic", "sum_tokens", at(out), at(x), *_shape(x), is_half(x))
    return out


def _shape(x: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    return ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1])


def _call(a: Addition) -> _Addition:
    return _Addition(
        *(x.data_ptr() for x in (a.x, a.residual, a.bias, a.gamma, a.beta)),
        *a.x.shape, a.epsilon, is_half(a.x), *threshold(a.dropout), a.seed,
    )  # fmt: skip
