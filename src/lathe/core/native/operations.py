"""The operations in C with their gradients, for tensors."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.autograd.function import once_differentiable

from lathe.core.native.compiled import library

LANES = 16
"""Numbers in a vector: the width of a head must be a multiple of it."""
WIDEST, LONGEST = 256, 128
"""Beyond these a head of a row does not fit near the processor, and torch's large matrix products are faster."""
TYPES = (torch.float32, torch.bfloat16)


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
    )


def serves(x: Tensor) -> bool:
    """Whether there are operations for this tensor's device and type."""
    return x.device.type == "cpu" and x.dtype in TYPES and library() is not None


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
        seed = _seed() if dropout else 0
        out = query.new_empty(query.shape)
        norms = query.new_empty((*query.shape[:2], 2), dtype=torch.float32)
        if _has_memory(out):
            call = _call(query, key, value, rows, scaling, dropout, seed)
            _library().attention_forward(ctypes.byref(call), _at(out), _at(norms))
        out[rows.tokens :] = 0
        ctx.save_for_backward(query, key, value, norms)
        ctx.rows, ctx.settings = rows, (scaling, dropout, seed)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, norms = ctx.saved_tensors
        gradients = [x.new_empty(x.shape) for x in (query, key, value)]
        d_out = grads[0].contiguous()
        if _has_memory(d_out):
            call = _call(query, key, value, ctx.rows, *ctx.settings)
            _library().attention_backward(ctypes.byref(call), _at(norms), _at(d_out), *map(_at, gradients))
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
        ctx.p, ctx.seed = p, _seed()
        return _dropped(x, ctx.p, ctx.seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _dropped(grads[0], ctx.p, ctx.seed), None


def _dropped(x: Tensor, p: float, seed: int) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    if _has_memory(x):
        threshold, factor = _threshold(p)
        _library().dropout(
            _at(out), _at(x), ctypes.c_int64(x.numel()), x.dtype == torch.bfloat16,
            ctypes.c_uint32(threshold), ctypes.c_float(factor), ctypes.c_uint64(seed),
        )  # fmt: skip
    return out


def gelu(x: Tensor) -> Tensor:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))) / 2"""
    found: Tensor = _Gelu.apply(x)
    return found


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        return _gelu(x, None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _gelu(x, grads[0].contiguous())


def _gelu(x: Tensor, gradient: Tensor | None) -> Tensor:
    out = torch.empty_like(x)
    if _has_memory(x):
        after = _at(gradient) if gradient is not None else None
        _library().gelu(_at(out), _at(x), after, ctypes.c_int64(x.numel()), x.dtype == torch.bfloat16)
    return out


def _threshold(p: float) -> tuple[int, float]:
    """Of 2³² words those below it keep a number; and what makes up for the others."""
    threshold = min(round((1 - p) * 2**32), 2**32 - 1)
    return threshold, 2**32 / threshold


def _call(
    query: Tensor, key: Tensor, value: Tensor, rows: Rows, scaling: float, dropout: float, seed: int
) -> _Attention:
    threshold, factor = _threshold(dropout) if dropout else (0, 1.0)
    return _Attention(
        *(x.data_ptr() for x in (query, key, value)),
        *(x.stride(0) for x in (query, key, value)),
        rows.starts.ctypes.data, rows.lengths.ctypes.data, len(rows.starts),
        query.shape[1], key.shape[1], query.shape[2],
        scaling, rows.is_causal, query.dtype == torch.bfloat16, threshold, factor, seed,
    )  # fmt: skip


def _by_token(x: Tensor) -> Tensor:
    """The same numbers with all heads of a token side by side; tokens may be apart."""
    return x if x.stride()[1:] == (x.shape[2], 1) else x.contiguous()


def _has_memory(x: Tensor) -> bool:
    """False in a rehearsal (`lathe.core.dry`): its tensors have shapes alone, and nothing is computed."""
    return not is_fake(x)


def _at(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


def _seed() -> int:
    return int(torch.empty((), dtype=torch.int64).random_())


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None, "asked before: `suits`, `library`"
    return found
