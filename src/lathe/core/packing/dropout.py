"""Dropout for CPUs: the same distribution as torch's, at a fraction of its price.

torch draws a float for every element (5 to 6 ns). Here 16 random bits are compared with a threshold, and the result is
applied as a bit mask (below 1 ns): an element is kept with probability round((1 - p) * 2¹⁶) / 2¹⁶, which is 1 - p to
within 2⁻¹⁷, and scaled by the inverse of exactly that, so its expectation is unchanged. The seed of the bits comes from
torch's global generator: whoever seeds that decides the draw.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import is_fake

from lathe.core import native
from lathe.core.exchange import exchange

_LEVELS = 1 << 16
_INTEGER = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # of the same width as a float


def fast_dropout(model: nn.Module) -> None:
    """Makes every `nn.Dropout` of the model draw cheaply on CPUs; undone by `torch_dropout`."""
    exchange(model, nn.Dropout, FastDropout)


def torch_dropout(model: nn.Module) -> None:
    """Undoes `fast_dropout`."""
    exchange(model, FastDropout, nn.Dropout)


class FastDropout(nn.Dropout):
    """`nn.Dropout` with cheap draws on CPUs; on other devices torch's own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if input.device.type != "cpu" or self.inplace:
            return super().forward(input)
        return dropout(input, self.p) if self.training else input


@torch.compiler.disable  # type: ignore[untyped-decorator]
def dropout(x: Tensor, p: float) -> Tensor:
    """x with each element zeroed with probability p, the others scaled by 1 / (1 - p)."""
    if p == 0 or x.numel() == 0:
        return x
    if threshold(p) == 0:
        return x * 0
    if native.serves(x):
        return native.dropout(x, p)
    dropped: Tensor = _Dropout.apply(x, p)
    return dropped


def threshold(p: float) -> int:
    """How many of the 2¹⁶ levels keep an element."""
    return round((1 - p) * _LEVELS)


def scale(p: float) -> float:
    """The inverse of the probability with which `keep_mask` keeps an element."""
    return _LEVELS / threshold(p)


def keep_mask(like: Tensor, p: float) -> Tensor:
    """int16 of the shape of ``like``: all bits set with probability 1 - p, else none."""
    count = like.numel()
    if like.device.type == "cpu" and not is_fake(like):  # numpy's generator takes half the time of torch's
        seed = int(torch.empty((), dtype=torch.int64).random_())
        words = torch.from_numpy(np.random.SFC64(seed).random_raw((count + 3) // 4))
    else:
        words = like.new_empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    levels = words.view(torch.int16)[:count].view(like.shape)
    return levels.lt_(threshold(p) - _LEVELS // 2).neg_()


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x where the mask is set, else 0."""
    integer = _INTEGER[x.element_size()]
    return (x.view(integer) & mask.to(integer)).view(x.dtype)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        mask = keep_mask(x, p)
        ctx.save_for_backward(mask)
        ctx.scale = scale(p)
        return masked(x, mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return masked(grads[0], mask) * ctx.scale, None
