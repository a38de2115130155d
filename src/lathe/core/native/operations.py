"""The operations in C with their gradients, for tensors."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lathe.core.native.calls import LANES, at, has_memory, is_half, new_seed, run, serves, threshold
from lathe.core.profile import count

WIDEST, LONGEST = 256, 128
"""Beyond these a head of a row does not fit near the processor, and torch's large matrix products are faster."""

ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
"""By the numbers that they have in activations.h."""


@dataclass(frozen=True)
class Rows:
    """Rows on a packed axis of ``size`` tokens; none of them is empty."""

    starts: np.ndarray[Any, np.dtype[np.int64]]  # [rows] where each begins
    lengths: np.ndarray[Any, np.dtype[np.int64]]  # [rows]
    tokens: int  # those behind the last row are in none of them
    is_causal: bool  # a token sees those before it and itself; otherwise all of its row

    @property
    def longest(self) -> int:
        return int(self.lengths.max(initial=0))


class _Attention(ctypes.Structure):
    """`attention` in attention.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("q", "k", "v")),
        *((name, ctypes.c_int64) for name in ("q_line", "k_line", "v_line")),
        *((name, ctypes.c_void_p) for name in ("starts", "lengths")),
        *((name, ctypes.c_int64) for name in ("rows", "heads", "groups", "width")),
        ("scaling", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("causal", "half")),
        ("threshold", ctypes.c_uint32),
        ("factor", ctypes.c_float),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("d_q_line", "d_k_line", "d_v_line")),
    )


def suits(rows: Rows, query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether `attention` takes these tensors [N, heads, width], and pays."""
    width = query.shape[-1]
    return (
        serves(query)
        and query.dtype == key.dtype == value.dtype
        and width == value.shape[-1]
        and width % LANES == 0
        and width <= WIDEST
        and rows.longest <= LONGEST
    )


def attention(query: Tensor, key: Tensor, value: Tensor, rows: Rows, scaling: float, dropout: float) -> Tensor:
    """softmax(scaling * q kᵀ) v within each row.  [N, H, width], [N, G, width] twice -> [N, H, width]

    H / G query heads share one key head. Tokens in no row get zeros. Sums are float32.
    """
    found: Tensor = _AttentionOfRows.apply(query, key, value, rows, scaling, dropout)
    return found


class _AttentionOfRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, rows: Rows, scaling: float, dropout: float
    ) -> Tensor:
        query, key, value = (_by_token(x) for x in (query, key, value))
        seed = new_seed() if dropout else 0
        out = query.new_empty(query.shape)
        norms = query.new_empty((*query.shape[:2], 2), dtype=torch.float32)
        if has_memory(out):
            call = _call(query, key, value, rows, scaling, dropout, seed)
            run("attention", "attention_forward", ctypes.byref(call), at(out), at(norms))
        count(2 * _products(rows, query))
        out[rows.tokens :] = 0
        ctx.save_for_backward(query, key, value, norms)
        ctx.rows, ctx.settings = rows, (scaling, dropout, seed)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, norms = ctx.saved_tensors
        gradients = _like(query, key, value)
        d_out = grads[0].contiguous()
        if has_memory(d_out):
            call = _call(query, key, value, ctx.rows, *ctx.settings)
            call.d_q_line, call.d_k_line, call.d_v_line = (x.stride(0) for x in gradients)
            run("attention", "attention_backward", ctypes.byref(call), at(norms), at(d_out), *map(at, gradients))
        count(5 * _products(ctx.rows, query))
        for gradient in gradients:
            gradient[ctx.rows.tokens :] = 0
        return *gradients, None, None, None


def dropout(x: Tensor, p: float) -> Tensor:
    """x with each number zeroed with probability p, the others scaled by 1 / (1 - p); no mask is kept."""
    dropped: Tensor = _Dropout.apply(x, p)
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.p, ctx.seed = p, new_seed()
        return _dropped(x, ctx.p, ctx.seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _dropped(grads[0], ctx.p, ctx.seed), None


def _dropped(x: Tensor, p: float, seed: int) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    if has_memory(x):
        below, factor = threshold(p)
        run(
            "dropout", "dropout", at(out), at(x), ctypes.c_int64(x.numel()), is_half(x),
            ctypes.c_uint32(below), ctypes.c_float(factor), ctypes.c_uint64(seed),
        )  # fmt: skip
    return out


def gelu(x: Tensor) -> Tensor:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))) / 2"""
    activated: Tensor = activation(x, "gelu_tanh")
    return activated


@torch.compiler.disable  # type: ignore[untyped-decorator]
def activation(x: Tensor, kind: str) -> Tensor:
    """One of `ACTIVATIONS` of every number."""
    found: Tensor = _Activation.apply(x, kind)
    return found


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        ctx.kind = kind
        return _activated(x, None, kind)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return _activated(x, grads[0].contiguous(), ctx.kind), None


def _activated(x: Tensor, gradient: Tensor | None, kind: str) -> Tensor:
    out = torch.empty_like(x)
    if has_memory(x):
        after = at(gradient) if gradient is not None else None
        number = ACTIVATIONS.index(kind)
        run("activations", "activate", at(out), at(x), after, ctypes.c_int64(x.numel()), is_half(x), number)
    return out


def _call(
    query: Tensor, key: Tensor, value: Tensor, rows: Rows, scaling: float, dropout: float, seed: int
) -> _Attention:
    below, factor = threshold(dropout)
    return _Attention(
        *(x.data_ptr() for x in (query, key, value)),
        *(x.stride(0) for x in (query, key, value)),
        rows.starts.ctypes.data, rows.lengths.ctypes.data, len(rows.starts),
        query.shape[1], key.shape[1], query.shape[2],
        scaling, rows.is_causal, is_half(query), below, factor, seed,
    )  # fmt: skip


def _products(rows: Rows, query: Tensor) -> int:
    """Operations of one of attention's products, as if every token saw its whole row (torch counts its own so)."""
    return int(2 * (rows.lengths**2).sum()) * query.shape[1] * query.shape[2]


def _like(query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """Room for their gradients, side by side in memory where they are parts of one product: its backward needs that."""
    lines = {x.stride(0) for x in (query, key, value)}
    if len(lines) == 1 and lines == {3 * query[0].numel()} and query.shape == key.shape:
        return list(query.new_empty(len(query), 3, *query.shape[1:]).unbind(1))
    return [x.new_empty(x.shape) for x in (query, key, value)]


def _by_token(x: Tensor) -> Tensor:
    """The same numbers with all heads of a token side by side; tokens may be apart."""
    return x if x.stride()[1:] == (x.shape[2], 1) else x.contiguous()
