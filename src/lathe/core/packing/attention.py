"""Attention over packed rows: one gather into rectangles, plain matrix products, one gather back; or a GPU's kernel.

Per-row loops pay a dozen operations a row; a mask over all of [N, N] pays for pairs that may not see one another. The
gradient is written out (it is short), so that nothing is allocated for a slice but the slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from lathe.core import native
from lathe.core.packing import varlen
from lathe.core.packing.dropout import keep_mask, masked, scale
from lathe.core.packing.geometry import Pack, Plan, Rectangle

KEPT_SCORES = 512 * 512  # rectangles of longer rows compute their scores again in the backward pass


def packed_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Any = bidirectional_mask_function,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **_: object,  # transformers passes the options of all its kinds of mask
) -> Pack | Tensor:
    """A mask function as `transformers.AttentionMaskInterface` asks for: the geometry in place of a tensor."""

    def dense() -> Tensor:
        mask = sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask,
            allow_is_causal_skip=False, use_vmap=use_vmap, device=device,
        )  # fmt: skip
        return cast(Tensor, mask)  # None only where skipping it is allowed

    valid = attention_mask
    if valid is None:
        valid = torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)
    if use_vmap or kv_offset or valid.shape != (batch_size, kv_length):  # a custom pattern, or a cache
        return dense()
    return Pack(valid.bool(), None if mask_function is bidirectional_mask_function else mask_function, dense)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def packed_attention(
    module: nn.Module,
    query: Tensor,  # [1, H, N, width]
    key: Tensor,  # [1, H_kv, N, width]
    value: Tensor,  # [1, H_kv, N, width]
    attention_mask: Pack | Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,  # [1, H, T, T]
    **options: Any,
) -> tuple[Tensor, None]:
    """An attention function as `transformers.AttentionInterface` asks for; without a `Pack` it is the padded one."""
    if not isinstance(attention_mask, Pack):
        attended: Tensor = sdpa_attention_forward(
            module, query, key, value, attention_mask,
            dropout=dropout, scaling=scaling, position_bias=position_bias, **options,
        )[0]  # fmt: skip
        return attended, None
    device = query.device.type
    if torch.is_autocast_enabled(device):
        precision = torch.get_autocast_dtype(device)
        query, key, value = query.to(precision), key.to(precision), value.to(precision)
    if position_bias is not None and position_bias.numel() == 1:
        position_bias = None  # one number for all pairs changes nothing: how a cross attention of T5 says "none"
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    dropout = dropout if module.training else 0.0
    if varlen.takes(query, value, position_bias, dropout):
        sequences = attention_mask.of_rows(varlen.sequences)
        if sequences is not None:
            with torch.autocast(device, enabled=False):
                return varlen.attend(query, key, value, sequences, scaling), None
    query, key, value = (x.transpose(1, 2)[0] for x in (query, key, value))  # [N, H, width]
    return attend(query, key, value, attention_mask, scaling, dropout, position_bias).unsqueeze(0), None


def attend(
    query: Tensor,  # [N, H, width]
    key: Tensor,  # [N, H_kv, width]
    value: Tensor,  # [N, H_kv, width]
    pack: Pack,
    scaling: float,
    dropout: float,
    position_bias: Tensor | None = None,  # [1, H, T, T]
) -> Tensor:
    """softmax(scaling * q kᵀ + bias) v within each row, in the precision of the tensors.  [N, H, width]"""
    rows = pack.rows
    if rows is not None and position_bias is None and native.suits(rows, query, key, value):
        return native.attention(query, key, value, rows, scaling, dropout)
    settings = _Settings(pack.plan, query.shape[1], key.shape[1], scaling, dropout)
    flat = (x.reshape(-1, x.shape[-1]) for x in (query, key, value))  # [N * H, width]
    with torch.autocast(query.device.type, enabled=False):
        out: Tensor = _Attention.apply(*flat, position_bias, settings)
    return out.view(-1, query.shape[1], value.shape[-1])


@dataclass(frozen=True)
class _Settings:
    plan: Plan
    heads: int  # H of queries
    groups: int  # G of keys: H / G query heads share one key head
    scaling: float
    dropout: float

    @property
    def scale(self) -> float:
        """What makes up for the weights that dropout takes away."""
        return scale(self.dropout)

    def of_queries(self, *slots: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """For each rectangle its part of each tensor, as [R * G, H / G * q, width]"""
        sizes = [(r.rows * self.groups, self.heads // self.groups * r.queries) for r in self.plan.rectangles]
        return _parts(sizes, slots)

    def of_keys(self, *slots: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """For each rectangle its part of each tensor, as [R * G, k, width]"""
        return _parts([(r.rows * self.groups, r.keys) for r in self.plan.rectangles], slots)


def _parts(sizes: list[tuple[int, int]], tensors: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    start = 0
    for batch, length in sizes:
        stop = start + batch * length
        yield tuple(x[start:stop].view(batch, length, -1) for x in tensors)
        start = stop


class _Attention(torch.autograd.Function):
    """softmax(scaling * q kᵀ + bias) v in every rectangle; all tensors are [N * heads, width]."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, position_bias: Tensor | None, settings: _Settings
    ) -> Tensor:
        s = settings
        query_slots, key_slots = s.plan.query_slots(s.heads), s.plan.key_slots(s.groups)
        q, k, v = query_slots.fill(query), key_slots.fill(key), key_slots.fill(value)  # [slots, width]
        out = q.new_empty(q.shape[0], v.shape[1])
        saved: list[Tensor | None] = []
        parts = zip(s.plan.rectangles, s.of_queries(q, out), s.of_keys(k, v), strict=True)
        for rectangle, (q_i, out_i), (k_i, v_i) in parts:
            weights = _probabilities(s, rectangle, q_i, k_i, position_bias)
            kept = keep_mask(weights, s.dropout) if s.dropout else None
            saved += [weights if rectangle.queries * rectangle.keys <= KEPT_SCORES else None, kept]
            _product(weights if kept is None else masked(weights, kept), v_i, s.scale, out_i)
        ctx.settings = s
        ctx.save_for_backward(q, k, v, position_bias, *saved)
        return query_slots.empty(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        s: _Settings = ctx.settings
        q, k, v, position_bias, *saved = ctx.saved_tensors
        query_slots, key_slots = s.plan.query_slots(s.heads), s.plan.key_slots(s.groups)
        d_out = query_slots.fill_gradient(grad)
        d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        d_bias = torch.zeros(position_bias.shape, device=q.device) if ctx.needs_input_grad[3] else None
        query_parts, key_parts = s.of_queries(q, d_out, d_q), s.of_keys(k, v, d_k, d_v)
        parts = zip(s.plan.rectangles, query_parts, key_parts, saved[::2], saved[1::2], strict=True)
        for rectangle, (q_i, d_out_i, d_q_i), (k_i, v_i, d_k_i, d_v_i), weights, kept in parts:
            if weights is None:
                weights = _probabilities(s, rectangle, q_i, k_i, position_bias)
            _product((weights if kept is None else masked(weights, kept)).mT, d_out_i, s.scale, d_v_i)
            d_weights = _product(d_out_i, v_i.mT, s.scale)
            d_weights = d_weights if kept is None else masked(d_weights, kept)
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            _product(d_scores, k_i, s.scaling, d_q_i)
            _product(d_scores.mT, q_i, s.scaling, d_k_i)
            if d_bias is not None:
                _add_bias_gradient(s, rectangle, d_scores, d_bias)
        return query_slots.empty(d_q), key_slots.empty(d_k), key_slots.empty(d_v), d_bias, None


def _product(a: Tensor, b: Tensor, factor: float, out: Tensor | None = None) -> Tensor:
    """factor * a @ b in one operation, [batch, m, k] @ [batch, k, n]"""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=factor, out=out)


def _probabilities(s: _Settings, rectangle: Rectangle, q: Tensor, k: Tensor, position_bias: Tensor | None) -> Tensor:
    """[R * G, H / G * q, k] in the precision of q; the softmax itself is at least in float32."""
    product = _product(q, k.mT, s.scaling)
    scores = product.to(torch.promote_types(product.dtype, torch.float32))
    by_head = scores.view(rectangle.rows, s.heads, rectangle.queries, rectangle.keys)
    if position_bias is not None and s.plan.is_regular:
        part = position_bias[:, :, : rectangle.queries, : rectangle.keys]  # T may be less than the rectangle's sides
        by_head[..., : part.shape[2], : part.shape[3]] += part
    elif position_bias is not None:
        by_head += position_bias.flatten(2)[0, :, _cells(rectangle, position_bias)].transpose(0, 1)
    if rectangle.bias is not None:
        by_head += rectangle.bias
    return torch.softmax(scores, -1).to(q.dtype)


def _add_bias_gradient(s: _Settings, rectangle: Rectangle, d_scores: Tensor, d_bias: Tensor) -> None:
    """Sums the gradient [R * G, H / G * q, k] of scores into that of the bias by position, [1, H, T, T]."""
    by_head = d_scores.view(rectangle.rows, s.heads, rectangle.queries, rectangle.keys).to(d_bias.dtype)
    if s.plan.is_regular:
        part = d_bias[0, :, : rectangle.queries, : rectangle.keys]
        part += by_head.sum(0)[:, : part.shape[1], : part.shape[2]]
    else:
        flat = by_head.transpose(0, 1).reshape(s.heads, -1)
        d_bias.flatten(2)[0].index_add_(1, _cells(rectangle, d_bias).flatten(), flat)


def _cells(rectangle: Rectangle, position_bias: Tensor) -> Tensor:
    """[R, q, k] index of each pair's original positions in a flattened [T, T]"""
    return rectangle.query_columns[:, :, None] * position_bias.shape[3] + rectangle.key_columns[:, None, :]
