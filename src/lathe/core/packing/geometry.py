"""Where each token goes: from padded [B, T] to packed [1, N], and from there into the rectangles of attention."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from transformers.masking_utils import causal_mask_function

from lathe.core.native import Rows

T = TypeVar("T")
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
MaskFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (row, head, query, key) -> may attend

_CAUSAL = cast(MaskFunction, causal_mask_function)
RECTANGLE_COST = 4096  # what one more rectangle costs, in score entries of one head: about a dozen small operations


def coarse(size: int, steps: int, smallest: int = 1) -> int:
    """The next size on a grid of ``steps`` sizes an octave, all multiples of ``smallest``.

    A matrix product on a CPU is compiled when its shape is first seen (0.5 to 5 ms in bfloat16, more than it then
    takes to run), so the sizes that change with every batch are kept to a few.

    >>> [coarse(n, steps=4) for n in (3, 9, 17, 100)]
    [3, 10, 20, 112]
    """
    quantum = max(smallest, (1 << (size.bit_length() - 1)) // steps) if size > 0 else smallest
    return max(-(-size // quantum), 1) * quantum


class Geometry:
    """The real tokens of a padded [B, T] axis, in row order: N of them, then repetitions up to a coarse ``size``."""

    def __init__(self, valid: Tensor) -> None:
        host: Bools = valid.detach().cpu().numpy()  # [B, T]
        self.shape = host.shape
        self.lengths: Ints = host.sum(1)  # [B]
        self.starts: Ints = np.cumsum(self.lengths) - self.lengths  # [B] where a row begins on the packed axis
        self.tokens = int(self.lengths.sum())
        # A single row keeps its length, so that packed [1, N] and padded [1, T] cannot be taken for one another.
        exact = self.shape[0] == 1 or valid.is_cuda
        self.size = self.tokens if exact else coarse(self.tokens, steps=16, smallest=8)
        kept: Ints = np.flatnonzero(host)
        self.columns: Ints = kept % self.shape[1]  # [N] position of each token in its row, holes counted
        self.starts_late = bool((~host[:, 0] & (self.lengths > 0)).any())
        self.is_right_padded = bool((self.columns == np.arange(self.tokens) - self.starts.repeat(self.lengths)).all())
        self._index = torch.from_numpy(np.resize(kept, self.size)).to(valid.device)  # repeats when N < size

    def pack(self, padded: Tensor) -> Tensor:
        """[B, T, ...] -> [1, size, ...]"""
        flat = padded.reshape(-1, *padded.shape[2:])
        packed: Tensor = _Take.apply(flat, self._index, self.tokens)
        return packed.unsqueeze(0)

    def pad(self, packed: Tensor) -> Tensor:
        """[1, size, ...] -> [B, T, ...], zeros where there is no token"""
        rows, positions = self.shape
        flat: Tensor = _Put.apply(packed[0], self._index, self.tokens, rows * positions)
        return flat.view(rows, positions, *packed.shape[2:])

    def is_packed(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.dim() >= 3 and value.shape[:2] == (1, self.size)

    def is_padded(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.dim() >= 3 and value.shape[:2] == self.shape


class _Take(torch.autograd.Function):
    """Rows ``index`` of x. Backward writes the first ``tokens`` back; later ones are repetitions without gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, tokens: int) -> Tensor:
        ctx.index, ctx.tokens, ctx.rows = index, tokens, x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Put.apply(grads[0], ctx.index, ctx.tokens, ctx.rows), None, None


class _Put(torch.autograd.Function):
    """The first ``tokens`` rows of x at ``index`` of a tensor of zeros. Inverse of `_Take`, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, tokens: int, rows: int) -> Tensor:
        ctx.index, ctx.tokens, ctx.size = index, tokens, x.shape[0]
        return x.new_zeros((rows, *x.shape[1:])).index_copy_(0, index[:tokens], x[:tokens])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        grad = grads[0].index_select(0, ctx.index)
        grad[ctx.tokens :] = 0
        return grad, None, None, None


@dataclass(frozen=True)
class Rectangle:
    """Rows of like length that share one padded attention: R rows (some may be repeated fillers), q by k positions."""

    rows: int
    queries: int
    keys: int
    query_columns: Tensor  # [R, q] original position of each query
    key_columns: Tensor  # [R, k] original position of each key
    bias: Tensor | None  # [R, 1, q or 1, k] 0 where a query may attend to a key, else the least float; None: everywhere


@dataclass(frozen=True)
class Slots:
    """Moves all heads of all tokens into the rectangles [slots, head width], and back."""

    index: Tensor  # [sum of R * H * length] flat (token, head) that each slot holds
    fillers: Tensor  # slots that hold a repetition
    inverse: Tensor  # [N * H] a slot of each (token, head)
    absent: Tensor  # (token, head) that no slot holds

    def fill(self, x: Tensor) -> Tensor:
        """[N * H, width] -> [slots, width]; fillers repeat a token of their own row"""
        return x.index_select(0, self.index)

    def fill_gradient(self, x: Tensor) -> Tensor:
        """As `fill`, with zeros in the fillers, which stand for no token."""
        return self.fill(x).index_fill_(0, self.fillers, 0)

    def empty(self, slots: Tensor) -> Tensor:
        """[slots, width] -> [N * H, width], zeros for tokens that no rectangle holds"""
        return slots.index_select(0, self.inverse).index_fill_(0, self.absent, 0)


@dataclass(frozen=True)
class Side:
    """The queries or the keys of all rectangles: which packed token is in each slot."""

    tokens: tuple[Ints, ...]  # for each rectangle [R, length]
    real: tuple[Bools, ...]  # for each rectangle [R, length], False for fillers
    size: int  # of the packed axis
    device: torch.device

    def slots(self, heads: int) -> Slots:
        head = np.arange(heads)[:, None]
        index = np.concatenate([(t[:, None] * heads + head).ravel() for t in self.tokens])  # (rectangle, R, H, length)
        real = np.concatenate([np.repeat(r[:, None], heads, 1).ravel() for r in self.real])
        inverse = np.full(self.size * heads, -1)
        inverse[index[real]] = np.flatnonzero(real)
        parts = index, np.flatnonzero(~real), inverse.clip(0), np.flatnonzero(inverse < 0)
        return Slots(*(torch.from_numpy(part).to(self.device) for part in parts))


class Plan:
    """The rectangles in which ``queries`` attend to ``keys``, made once a forward pass for all layers."""

    def __init__(
        self, queries: Geometry, keys: Geometry, may_attend: MaskFunction | None, device: torch.device
    ) -> None:
        rows = np.flatnonzero((queries.lengths > 0) & (keys.lengths > 0))
        order = rows[np.lexsort((-queries.lengths[rows], -keys.lengths[rows]))]
        groups = [order[start:stop] for start, stop in _cut(keys.lengths[order])]
        groups = [np.resize(group, coarse(len(group), steps=4)) for group in groups]  # whole rows as fillers
        counts = [len(np.unique(group)) for group in groups]
        self.queries = _side(queries, groups, counts, device)
        self.keys = self.queries if keys is queries else _side(keys, groups, counts, device)
        self.rectangles = [
            _rectangle(queries, keys, may_attend, group, self.queries.tokens[i], self.keys.tokens[i], device)
            for i, group in enumerate(groups)
        ]
        # Right padded: the position of a slot is its place in the row, and a bias by position need not be gathered.
        self.is_regular = queries.is_right_padded and keys.is_right_padded
        self._slots: dict[tuple[bool, int], Slots] = {}

    def query_slots(self, heads: int) -> Slots:
        return self._memo(self.queries, heads)

    def key_slots(self, heads: int) -> Slots:
        return self._memo(self.keys, heads)

    def _memo(self, side: Side, heads: int) -> Slots:
        name = side is self.queries, heads
        if name not in self._slots:
            self._slots[name] = side.slots(heads)
        return self._slots[name]


def _length(size: int) -> int:
    return coarse(size, steps=4, smallest=8)


def _cut(lengths: Ints) -> list[tuple[int, int]]:
    """The cheapest cut of descending lengths into rectangles; one costs rows * length² + `RECTANGLE_COST`."""
    sides = [_length(int(length)) for length in lengths]
    starts = [i for i in range(len(sides)) if i == 0 or sides[i] != sides[i - 1]] + [len(sides)]
    best: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]  # for each prefix of the starts: cost, cuts
    for end in range(1, len(starts)):
        best.append(
            min(
                (best[i][0] + (starts[end] - starts[i]) * sides[starts[i]] ** 2 + RECTANGLE_COST,
                 [*best[i][1], (starts[i], starts[end])])
                for i in range(end)
            )
        )  # fmt: skip
    return best[-1][1]


def _side(geometry: Geometry, groups: list[Ints], counts: list[int], device: torch.device) -> Side:
    tokens, real = [], []
    for group, count in zip(groups, counts, strict=True):
        lengths = geometry.lengths[group][:, None]
        slot = np.arange(_length(int(lengths.max())))[None]
        tokens.append(geometry.starts[group][:, None] + np.minimum(slot, lengths - 1))
        real.append((slot < lengths) & (np.arange(len(group))[:, None] < count))
    return Side(tuple(tokens), tuple(real), geometry.size, device)


def _rectangle(
    queries: Geometry,
    keys: Geometry,
    may_attend: MaskFunction | None,
    group: Ints,
    query_tokens: Ints,
    key_tokens: Ints,
    device: torch.device,
) -> Rectangle:
    query_columns = torch.from_numpy(queries.columns[query_tokens]).to(device)  # [R, q]
    key_columns = torch.from_numpy(keys.columns[key_tokens]).to(device)  # [R, k]
    slot = np.arange(key_tokens.shape[1])[None]
    allowed = torch.from_numpy(slot < keys.lengths[group][:, None]).to(device)[:, None, None, :]  # [R, 1, 1, k]
    if may_attend is not None:
        row = torch.from_numpy(group).to(device)[:, None, None, None]  # row, head, query, key broadcast to [R, 1, q, k]
        pattern = may_attend(row, row.new_zeros(()), query_columns[:, None, :, None], key_columns[:, None, None, :])
        allowed = allowed & pattern
    bias = None if bool(allowed.all()) else torch.zeros(allowed.shape, device=device)
    if bias is not None:
        bias.masked_fill_(~allowed, torch.finfo(bias.dtype).min)  # not -inf: a query without keys would become NaN
    return Rectangle(len(group), query_tokens.shape[1], key_tokens.shape[1], query_columns, key_columns, bias)


class Pack:
    """What travels through the layers as ``attention_mask``: how one mask of the model looks on the packed axis."""

    def __init__(self, valid: Tensor, may_attend: MaskFunction | None, dense: Callable[[], Tensor]) -> None:
        self._valid, self._may_attend, self._dense = valid, may_attend, dense
        self.queries: Geometry | None = None  # of a cross attention: the decoder's tokens
        self._made: dict[Callable[..., Any], Any] = {}
        self._shared: dict[int, tuple[Tensor, Tensor]] = {}

    @cached_property
    def geometry(self) -> Geometry:
        return Geometry(self._valid)

    @cached_property
    def dense(self) -> Tensor:
        """The same mask for the padded layout, [B, 1, T, T]"""
        return self._dense()

    @property
    def plan(self) -> Plan:
        return self.of_rows(Plan)

    def of_rows(self, make: Callable[[Geometry, Geometry, MaskFunction | None, torch.device], T]) -> T:
        """What ``make`` makes of queries, keys and mask: made at its first use, for all layers of a forward pass."""
        if make not in self._made:
            self._made[make] = make(self.queries or self.geometry, self.geometry, self._may_attend, self._valid.device)
        made: T = self._made[make]
        return made

    @cached_property
    def rows(self) -> Rows | None:
        """The rows as operations see them that need no rectangles; None where this mask is not of their kind."""
        is_causal = self._may_attend is _CAUSAL
        if self.queries is not None or not (is_causal or self._may_attend is None):
            return None
        g, real = self.geometry, self.geometry.lengths > 0
        return Rows(g.starts[real], g.lengths[real], g.tokens, is_causal)

    def once(self, padded: Tensor) -> Tensor:
        """[B or 1, T, ...] -> [1, N, ...] of a tensor that all layers share, packed at its first use."""
        if id(padded) not in self._shared:
            whole = padded.expand(self.geometry.shape[0], *padded.shape[1:])
            self._shared[id(padded)] = padded, self.geometry.pack(whole)  # padded is kept, so that its id stays its own
        return self._shared[id(padded)][1]
