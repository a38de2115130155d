"""Packed attention on GPUs: torch's flash attention over sequences of different lengths, where it can say the mask.

It needs no rectangles: tensors stay [N, H, width], and a list of offsets says where each row begins. It takes bands
(everything, causal, a window), bfloat16 or float16, and no dropout; whatever it does not take runs in rectangles.
"""

from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import masking_utils

from lathe.core.packing.geometry import Geometry, Ints, MaskFunction

varlen_attn: Any
try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # before torch 2.10
    varlen_attn = None

Window: TypeAlias = tuple[int, int]
"""How far a query sees to its left and to its right; -1: without end."""

CAUSAL: Any = masking_utils.causal_mask_function
WIDEST_HEAD = 256  # of flash attention
IS_HERE = varlen_attn is not None and {"scale", "window_size", "enable_gqa"} <= signature(varlen_attn).parameters.keys()


@dataclass(frozen=True)
class Sequences:
    """The rows of a pack as the kernel asks for them."""

    query_offsets: Tensor  # int32 [rows + 1]
    key_offsets: Tensor
    queries: int  # real tokens; repetitions may follow them on the packed axis
    keys: int
    longest_query: int
    longest_key: int
    window: Window


def sequences(
    queries: Geometry, keys: Geometry, may_attend: MaskFunction | None, device: torch.device
) -> Sequences | None:
    """None where the kernel cannot say which query may attend to which key."""
    window = _window(queries, keys, may_attend, device)
    if window is None or bool(((queries.lengths > 0) != (keys.lengths > 0)).any()):
        return None
    held = queries.lengths > 0
    return Sequences(
        _offsets(queries.lengths[held], device),
        _offsets(keys.lengths[held], device),
        queries.tokens,
        keys.tokens,
        int(queries.lengths.max()),
        int(keys.lengths.max()),
        window,
    )


def takes(query: Tensor, value: Tensor, position_bias: Tensor | None, dropout: float) -> bool:
    """Whether the kernel computes such an attention at all; tensors are [1, H, N, width]."""
    width = query.shape[-1]
    return (
        IS_HERE
        and query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and position_bias is None
        and dropout == 0
        and width == value.shape[-1]
        and width % 8 == 0
        and width <= WIDEST_HEAD
    )


def attend(query: Tensor, key: Tensor, value: Tensor, rows: Sequences, scale: float) -> Tensor:
    """[1, H, N, width], keys and values with H heads or fewer -> [1, N, H, width]; zeros for repeated tokens."""
    sizes = (query, rows.queries), (key, rows.keys), (value, rows.keys)
    q, k, v = (_first(x[0].transpose(0, 1), tokens) for x, tokens in sizes)  # [tokens, H, width]
    out: Tensor = varlen_attn(
        q, k, v, rows.query_offsets, rows.key_offsets, rows.longest_query, rows.longest_key,
        scale=scale, window_size=rows.window, enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip
    repeated = query.shape[2] - rows.queries
    return (F.pad(out, (0, 0, 0, 0, 0, repeated)) if repeated else out).unsqueeze(0)


def _offsets(lengths: Ints, device: torch.device) -> Tensor:
    return torch.from_numpy(np.append(0, np.cumsum(lengths)).astype(np.int32)).to(device)


def _first(x: Tensor, count: int) -> Tensor:
    """The first rows; all of them without an operation, whose gradient would be a copy."""
    return x if len(x) == count else x[:count]


def _window(queries: Geometry, keys: Geometry, may_attend: MaskFunction | None, device: torch.device) -> Window | None:
    """The band that a mask is: read off the mask itself and compared with all of it; None where it is no band."""
    if may_attend is None:
        return -1, -1
    if queries is not keys:
        return None
    if may_attend is CAUSAL:
        return -1, 0
    if not keys.is_right_padded:  # the mask counts positions, the kernel tokens: a hole is one of the former only
        return None
    rows = torch.arange(len(keys.lengths), device=device)[:, None, None]
    position = torch.arange(int(keys.lengths.max()), device=device)
    distance = position[:, None] - position  # [T, T] from each query back to each key
    allowed = may_attend(rows, rows.new_zeros(()), position[:, None], position)
    if allowed.shape != distance.shape or not bool(allowed.diagonal().all()):  # it differs from row to row
        return None
    left, right = int(distance[allowed].max()), int(-distance[allowed].min())
    if not torch.equal(allowed, (distance <= left) & (distance >= -right)):
        return None
    last = len(position) - 1
    return -1 if left == last else left, -1 if right == last else right
