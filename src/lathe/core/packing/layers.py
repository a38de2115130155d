"""Encoder layers of BERT's shape as few large operations: the arithmetic is the family's own, the rounding is not.

A layer of transformers takes some sixty operations forward and backward, most of them small: casts between float32 and
bfloat16, biases, dropout, residuals, norms. Here one operation in C stands between two matrix products; tensors stay in
the precision of the products, and sums, norms and activations are computed in float32 inside the operations.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lathe.core import native
from lathe.core.activations import kind_of
from lathe.core.exchange import exchange
from lathe.core.linear import FastLinear
from lathe.core.native.calls import LANES
from lathe.core.packing.attention import attend
from lathe.core.packing.blocks import Rest, finish, project
from lathe.core.packing.dropout import FastDropout
from lathe.core.packing.geometry import Pack

CAPTURES = (
    "transformers.utils.output_capturing"  # its hooks on attention collect weights, which packed attention has not
)


class Parts(NamedTuple):
    """What a layer computes with, whatever its family calls it."""

    linears: tuple[Any, ...]  # query, key, value, output of attention, first and second of the feed-forward part
    norms: tuple[Any, Any]
    dropouts: tuple[Any, ...]  # or None: of attention weights, before the first norm, before the second
    activation: nn.Module
    attention: Any
    heads: int
    holders: tuple[nn.Module, ...]  # modules with a forward of the family's own
    chunk: int  # tokens in a feed-forward part at a time; 0: all


def _of_bert(layer: Any) -> Parts:
    attention, add, inner, last = layer.attention.self, layer.attention.output, layer.intermediate, layer.output
    return Parts(
        (attention.query, attention.key, attention.value, add.dense, inner.dense, last.dense),
        (add.LayerNorm, last.LayerNorm),
        (attention.dropout, add.dropout, last.dropout),
        inner.intermediate_act_fn,
        attention,
        attention.num_attention_heads,
        (layer.attention, attention, add, inner, last),
        layer.chunk_size_feed_forward,
    )


def _of_distilbert(layer: Any) -> Parts:
    attention, ffn = layer.attention, layer.ffn
    return Parts(
        (attention.q_lin, attention.k_lin, attention.v_lin, attention.out_lin, ffn.lin1, ffn.lin2),
        (layer.sa_layer_norm, layer.output_layer_norm),
        (attention.dropout, None, ffn.dropout),
        ffn.activation,
        attention,
        attention.n_heads,
        (attention, ffn),
        ffn.chunk_size_feed_forward,
    )


FUSED: Mapping[str, Callable[[Any], Parts]] = MappingProxyType(
    {
        "bert.modeling_bert.BertLayer": _of_bert,
        "camembert.modeling_camembert.CamembertLayer": _of_bert,
        "distilbert.modeling_distilbert.TransformerBlock": _of_distilbert,
        "electra.modeling_electra.ElectraLayer": _of_bert,
        "ernie.modeling_ernie.ErnieLayer": _of_bert,
        "roberta.modeling_roberta.RobertaLayer": _of_bert,
        "xlm_roberta.modeling_xlm_roberta.XLMRobertaLayer": _of_bert,
    }
)
"""Layers by their place in transformers.models."""


def fuse_layers(model: nn.Module) -> None:
    """Layers of BERT's shape run fused where they can, call by call; undone by `plain_layers`."""
    for plain in {type(module) for module in model.modules()}:
        if f"{plain.__module__}.{plain.__qualname__}".removeprefix("transformers.models.") in FUSED:
            exchange(model, plain, _fused(plain))  # type: ignore[arg-type] # classes are hashable


def plain_layers(model: nn.Module) -> None:
    """Undoes `fuse_layers`."""
    for fused in {type(module) for module in model.modules() if isinstance(module, Fused)}:
        exchange(model, fused, fused.__bases__[1])


class Fused(nn.Module):
    """A layer that may run fused."""


@cache
def _fused(plain: type[nn.Module]) -> type[nn.Module]:
    parts_of = FUSED[f"{plain.__module__}.{plain.__qualname__}".removeprefix("transformers.models.")]

    @wraps(plain.forward)
    def forward(self: Any, hidden_states: Tensor, attention_mask: Any = None, *others: Any, **named: Any) -> Any:
        settings = (value for name, value in named.items() if not name.startswith("output_"))  # the model's, not ours
        if isinstance(attention_mask, Pack) and not any(value is not None for value in (*others, *settings)):
            parts = parts_of(self)
            if (precision := _precision(hidden_states)) is not None and _is_plain(parts, plain) and _suits(parts):
                return _run(parts, hidden_states.to(precision), attention_mask, self.training)
        return plain.forward(self, hidden_states, attention_mask, *others, **named)

    return type(f"Fused{plain.__name__}", (Fused, plain), {"forward": forward})


def _precision(hidden_states: Tensor) -> torch.dtype | None:
    """That of the products; None where there are no operations for it."""
    if not native.serves(hidden_states):
        return None
    if torch.is_autocast_enabled("cpu"):
        return torch.bfloat16 if torch.get_autocast_dtype("cpu") == torch.bfloat16 else None
    return torch.float32 if hidden_states.dtype == torch.float32 else None


def _is_plain(parts: Parts, layer: type[nn.Module]) -> bool:
    """Whether everything is as the family made it: no adapters, no hooks that would not be called."""
    dropouts = [module for module in parts.dropouts if module is not None]
    return (
        kind_of(parts.activation) is not None
        and all(type(linear) in (nn.Linear, FastLinear) for linear in parts.linears)
        and all(type(norm) is nn.LayerNorm for norm in parts.norms)
        and all(type(dropout) in (nn.Dropout, FastDropout) for dropout in dropouts)
        and all(type(holder).__module__ == layer.__module__ for holder in parts.holders)
        and not any(map(_is_watched, (*parts.linears, *parts.norms, *dropouts, parts.activation, *parts.holders)))
    )


def _suits(parts: Parts) -> bool:
    """Whether the operations take its sizes and options."""
    query, *_ = parts.linears
    parameters = [*_of(parts.linears), *_of(parts.norms)]
    return (
        parts.chunk == 0
        and all(p is not None and p.dtype == torch.float32 and p.is_contiguous() for p in parameters)
        and all(linear.weight.shape == query.weight.shape for linear in parts.linears[:3])
        and all(size % LANES == 0 for linear in parts.linears for size in linear.weight.shape)
        and all(dropout is None or dropout.p < 1 for dropout in parts.dropouts)
    )


def _of(modules: Iterable[Any]) -> Iterable[Any]:
    """Weights and biases."""
    return (parameter for module in modules for parameter in (module.weight, module.bias))


def _is_watched(module: nn.Module) -> bool:
    own = vars(module)
    hooks: Iterable[Any] = own["_forward_hooks"].values()
    return (
        "forward" in own
        or bool(own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"])
        or any(getattr(hook, "__module__", None) != CAPTURES for hook in hooks)
    )


def _run(parts: Parts, hidden_states: Tensor, pack: Pack, training: bool) -> Tensor:
    """[1, N, D] -> [1, N, D]"""
    weight_p, *dropouts = (dropout.p if training and dropout is not None else 0.0 for dropout in parts.dropouts)
    projections, (add, inner, last) = parts.linears[:3], parts.linears[3:]
    first, second = parts.norms
    weights, biases = [p.weight for p in projections], [p.bias for p in projections]
    query, key, value, residual = project(hidden_states, parts.heads, weights, biases)
    context = attend(query, key, value, pack, parts.attention.scaling, weight_p)
    kind = kind_of(parts.activation)
    assert kind is not None, "asked before: _is_plain"
    rest = Rest(kind, (first.eps, second.eps), (dropouts[0], dropouts[1]))
    return finish(context, residual, rest, [*_of((add, first, inner, last, second))])
