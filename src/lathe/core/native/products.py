"""The matrix products of a linear layer in bfloat16, on processors that multiply it (AMX, AVX-512 BF16).

torch's library compiles a kernel for every new number of rows, and leaves cores idle below a thousand rows; packed
batches have few rows, and in every step another number of them. Tensors without memory (`lathe.core.dry`) are
multiplied by torch, which counts their operations and computes nothing.
"""

import ctypes
from functools import cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from lathe.core.native.calls import run
from lathe.core.native.compiled import library
from lathe.core.profile import count

EDGE = 32
"""Both sizes of a weight must be multiples of it; with fewer rows nothing is gained."""
MOST_ROWS = 4096
"""Beyond them what torch's products take to start is nothing beside the products."""
Unit: TypeAlias = Literal["AVX-512 BF16", "AMX"]
UNITS: tuple[Unit | None, ...] = (None, "AVX-512 BF16", "AMX")
"""By the number that unit.h gives each."""


class _Product(ctypes.Structure):
    """`product` in products.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("left", "weight", "bias", "more", "out")),
        *((name, ctypes.c_int64) for name in ("left_line", "weight_line", "more_line", "out_line")),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "depth", "turned", "half_weight", "half_out")),
    )


class _Gradient(ctypes.Structure):
    """`gradient` in products.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("dy", "x", "dw", "sums")),
        *((name, ctypes.c_int64) for name in ("dy_line", "x_line", "rows", "outputs", "inputs")),
    )


def suits(rows: int, weight: Tensor) -> bool:
    """Whether these products can be computed with this weight [N, K], and pay with so many rows."""
    return (
        EDGE <= rows <= MOST_ROWS
        and weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and weight.dim() == 2
        and all(size % EDGE == 0 and size for size in weight.shape)
        and weight.stride(1) == 1
        and has_unit()
    )


def has_unit() -> bool:
    """Whether the processor multiplies bfloat16, and the system lets this process use it."""
    return unit() is not None


def unit() -> Unit | None:
    """What computes these products here."""
    found = library()
    return None if found is None else _granted(found)


@cache
def _granted(found: ctypes.CDLL) -> Unit | None:
    answer = ctypes.c_int(0)
    found.products(ctypes.byref(answer))
    return UNITS[answer.value]


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    more: Tensor | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """x Wᵀ + bias + more in ``dtype``, rounded once.  [M, K], [N, K], float32 [N], bfloat16 [M, N] -> [M, N]"""
    return _by_weight(x, weight, bias, more, dtype, turned=False)


def input_gradient(
    dy: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    more: Tensor | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """dy W + bias + more in ``dtype``, rounded once.  [M, N], [N, K], float32 [K], bfloat16 [M, K] -> [M, K]

    With a bias it is also the product of a layer whose weight stands the other way.
    """
    return _by_weight(dy, weight, bias, more, dtype, turned=True)


def weight_gradient(dy: Tensor, x: Tensor, sums: Tensor | None = None) -> Tensor:
    """dyᵀ x in float32; ``sums`` float32 [N], where given, becomes the sum of dy's rows.  [M, N], [M, K] -> [N, K]"""
    dy, x = _by_line(dy), _by_line(x)
    if is_fake(x):
        return torch.mm(dy.T, x).float()
    out = x.new_empty((dy.shape[1], x.shape[1]), dtype=torch.float32)
    call = _Gradient(
        *(_place(tensor) for tensor in (dy, x, out, sums)), dy.stride(0), x.stride(0), len(x), *out.shape
    )  # fmt: skip
    assert has_unit(), "asked before: `suits`"
    run("matrix products", "product_for_weight", ctypes.byref(call))
    count(2 * len(x) * out.numel())
    return out


def _by_weight(
    left: Tensor, weight: Tensor, bias: Tensor | None, more: Tensor | None, dtype: torch.dtype, *, turned: bool
) -> Tensor:
    left, more = _by_line(left), None if more is None else _by_line(more)
    if is_fake(left):
        return torch.mm(left, (weight if turned else weight.T).to(torch.bfloat16)).to(dtype)
    columns, depth = weight.shape[::-1] if turned else weight.shape
    out = left.new_empty((len(left), columns), dtype=dtype)
    call = _Product(
        *(_place(tensor) for tensor in (left, weight, bias, more, out)),
        *(0 if tensor is None else tensor.stride(0) for tensor in (left, weight, more, out)),
        len(left), columns, depth, turned, weight.dtype == torch.bfloat16, dtype == torch.bfloat16,
    )  # fmt: skip
    assert has_unit(), "asked before: `suits`"
    run("matrix products", "product_by_weight", ctypes.byref(call))
    count(2 * len(left) * columns * depth)
    return out


def _by_line(x: Tensor) -> Tensor:
    """bfloat16 with the numbers of a line side by side; lines may be apart."""
    x = x.to(torch.bfloat16)
    return x if x.stride(1) == 1 else x.contiguous()


def _place(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
