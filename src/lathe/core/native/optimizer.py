"""The update of AdamW and the norm of gradients, in C."""

import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from lathe.core.native.compiled import library

LINE = 4096
"""Numbers that are summed together: LINE in vectors.h."""
PART = np.dtype(
    [(name, np.uint64) for name in ("weight", "gradient", "mean", "square", "alive")]
    + [(name, np.int64) for name in ("rows", "width")]
    + [(name, np.float32) for name in ("keep", "share1", "share2", "size", "root", "epsilon")],
    align=True,
)
"""`part` in optimizer.c."""


class Update(NamedTuple):
    """What AdamW does to one parameter in one step. All tensors are contiguous float32 on the CPU."""

    weight: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    alive: Tensor | None  # [rows] uint8; where 0, gradient, mean and square of that row are 0
    rate: float
    decay: float
    betas: tuple[float, float]
    epsilon: float
    step: int  # 1 for the first one

    def row(self) -> tuple[int | float, ...]:
        """As `PART` has it."""
        beta1, beta2 = self.betas
        rows = 1 if self.alive is None else len(self.alive)
        return (
            *(x.data_ptr() for x in (self.weight, self.gradient, self.mean, self.square)),
            0 if self.alive is None else self.alive.data_ptr(),
            rows, self.weight.numel() // max(rows, 1),
            1 - self.rate * self.decay, 1 - beta1, 1 - beta2,
            self.rate / (1 - beta1**self.step), 1 / math.sqrt(1 - beta2**self.step), self.epsilon,
        )  # fmt: skip


def takes(tensors: Sequence[Tensor]) -> bool:
    """Whether there is C for these, weights or gradients."""
    plain = all(
        x.device.type == "cpu" and x.dtype == torch.float32 and x.layout == torch.strided and x.is_contiguous()
        for x in tensors
    )
    return plain and library() is not None


def adamw(updates: Sequence[Update], factor: float) -> None:
    """Change weights and moments in place, as ``torch.optim.AdamW`` would with gradients times ``factor``."""
    if not updates or is_fake(updates[0].weight):  # a rehearsal: no numbers are computed
        return
    found = library()
    assert found is not None, "`takes` has asked"
    with np.errstate(over="ignore"):  # a rate beyond float32 is infinite, as torch has it
        parts = np.array([update.row() for update in updates], PART)
    found.adamw(parts.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(parts)), ctypes.c_float(factor))


def norm(tensors: Sequence[Tensor]) -> float:
    """The Euclidean norm of all numbers of these tensors, summed in double; in C where it `takes` them."""
    if not tensors or not takes(tensors) or is_fake(tensors[0]):
        return float(torch.nn.utils.get_total_norm(tensors))
    found = library()
    assert found is not None, "`takes` has asked"
    starts = np.array([x.data_ptr() for x in tensors], np.uint64)
    sizes = np.array([x.numel() for x in tensors], np.int64)
    lines, total = np.empty(int((-(-sizes // LINE)).sum())), np.zeros(1)
    found.sum_of_squares(
        *(x.ctypes.data_as(ctypes.c_void_p) for x in (starts, sizes)),
        ctypes.c_int64(len(sizes)),
        *(x.ctypes.data_as(ctypes.c_void_p) for x in (lines, total)),
    )
    return math.sqrt(total[0])
