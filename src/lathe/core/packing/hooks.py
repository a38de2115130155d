"""Switching packing on and off: hooks that pack before a stack of layers and pad after it."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.utils.generic import ModelOutput

from lathe.core.heads import networks_of
from lathe.core.packing.attention import packed_attention, packed_mask
from lathe.core.packing.families import why_padded
from lathe.core.packing.geometry import Geometry, Pack

ATTENTION = "lathe_packed"
_STATE = "_lathe_packing"  # the attribute of a model that holds what `disable` needs

Arguments = tuple[Any, ...]
Named = dict[str, Any]


@dataclass
class _State:
    attention: str  # the implementation before
    handles: list[RemovableHandle]


def enable(model: PreTrainedModel) -> str | None:
    """Makes the model's layers run on real tokens only; its inputs and outputs stay padded [B, T].

    None when it does, otherwise the reason why it runs padded. A call with a key-value cache runs padded all the same,
    and so does a batch without a token, or one that is padded on the left before an encoder whose head may read
    position 0.
    """
    reason = why_padded(model.config)
    for network in networks_of(model) if reason is None else ():
        if _STATE not in vars(network):
            AttentionInterface.register(ATTENTION, packed_attention)
            AttentionMaskInterface.register(ATTENTION, packed_mask)
            vars(network)[_STATE] = _State(network.config._attn_implementation, list(_install(network)))
            network.set_attn_implementation(ATTENTION)
    return reason


def disable(model: PreTrainedModel) -> None:
    """Undoes `enable`."""
    for network in networks_of(model):
        state: _State | None = vars(network).pop(_STATE, None)
        if state is not None:
            for handle in state.handles:
                handle.remove()
            network.set_attn_implementation(state.attention)


def _install(model: PreTrainedModel) -> Iterator[RemovableHandle]:
    for owner, stack in stacks(model):
        scope = _Scope(reads_first=not (model.config.is_encoder_decoder or _is_causal(owner)))
        for layer in stack:
            enter = _Enter(tuple(inspect.signature(layer.forward).parameters), scope)
            yield layer.register_forward_pre_hook(enter, with_kwargs=True)
        yield stack[-1].register_forward_hook(_Leave(scope))
        yield owner.register_forward_hook(_LeaveOwner(scope))
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and "use_cache" in inspect.signature(module.forward).parameters:
            yield module.register_forward_pre_hook(_without_cache, with_kwargs=True)
        if hasattr(module, "has_relative_attention_bias") and hasattr(module, "compute_bias"):
            yield module.register_forward_pre_hook(_bias_by_position, with_kwargs=True)


def stacks(model: PreTrainedModel) -> Iterator[tuple[PreTrainedModel, nn.ModuleList]]:
    """Outermost lists of layers that take (hidden_states, attention_mask), each with the model that it belongs to."""
    pending: list[tuple[PreTrainedModel, nn.Module]] = [(model, model)]
    while pending:
        owner, module = pending.pop()
        if isinstance(module, nn.ModuleList) and len(module):
            names = inspect.signature(module[0].forward).parameters
            if "hidden_states" in names and "attention_mask" in names:
                yield owner, module
                continue
        for child in module.children():
            pending.append((child if isinstance(child, PreTrainedModel) else owner, child))


def _is_causal(owner: PreTrainedModel) -> bool:
    return any(getattr(module, "is_causal", False) for module in owner.modules())


@dataclass
class _Scope:
    """What the hooks of one stack tell one another within a forward pass."""

    reads_first: bool  # heads of such models may read position 0
    geometry: Geometry | None = None
    own: tuple[Tensor, Pack] | None = None  # the caller's own mask of the last forward pass

    def pack_of(self, mask: Any, hidden_states: Tensor) -> Any:
        """A mask of the caller's own as a `Pack`, once for all layers; anything else as it is."""
        if self.own is not None and mask is self.own[0]:
            return self.own[1]
        if _is_own_mask(mask) and mask.shape[0] == hidden_states.shape[0]:
            self.own = mask, Pack(mask[:, 0].any(1), partial(_may_attend, mask), lambda: mask)
            return self.own[1]
        return mask


@dataclass
class _Enter:
    """Before a layer: hands it packed tensors."""

    parameters: tuple[str, ...]  # of the layer's forward
    scope: _Scope

    def __call__(self, layer: nn.Module, args: Arguments, kwargs: Named) -> tuple[Arguments, Named] | None:
        named = dict(zip(self.parameters, args, strict=False)) | kwargs
        named["attention_mask"] = self.scope.pack_of(named.get("attention_mask"), named["hidden_states"])
        pack, cross = named["attention_mask"], named.get("encoder_attention_mask")
        if not isinstance(pack, Pack) and not isinstance(cross, Pack):
            return None
        if not isinstance(pack, Pack) or named.get("past_key_values") is not None or self._must_pad(pack.geometry):
            self.scope.geometry = None
            named |= {k: named[k].dense for k in ("attention_mask", "encoder_attention_mask") if _is_pack(named.get(k))}
        else:
            self.scope.geometry = pack.geometry
            _pack_arguments(pack, cross, named)
        return tuple(named.pop(name) for name in self.parameters[: len(args)]), named

    def _must_pad(self, geometry: Geometry) -> bool:
        return geometry.tokens == 0 or (self.scope.reads_first and geometry.starts_late)


def _is_own_mask(mask: object) -> bool:
    """Whether it is [B, 1, T, T] with True where a query sees a key, and every token that is seen sees itself."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.dim() != 4:
        return False
    is_square = mask.shape[1] == 1 and mask.shape[2] == mask.shape[3]
    return is_square and torch.equal(mask[:, 0].any(1), mask[:, 0].diagonal(dim1=1, dim2=2))


def _may_attend(mask: Tensor, row: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return mask[row, 0, query, key]


def _is_pack(value: object) -> bool:
    return isinstance(value, Pack)


def _pack_arguments(pack: Pack, cross: Pack | Tensor | None, named: Named) -> None:
    if pack.geometry.is_padded(named["hidden_states"]):
        named["hidden_states"] = pack.geometry.pack(named["hidden_states"])
    if named.get("position_embeddings") is not None:
        named["position_embeddings"] = tuple(pack.once(table) for table in named["position_embeddings"])  # cos, sin
    if isinstance(cross, Pack):
        cross.queries = pack.geometry
        if cross.geometry.is_padded(named["encoder_hidden_states"]):
            named["encoder_hidden_states"] = cross.once(named["encoder_hidden_states"])


@dataclass
class _Leave:
    """After the last layer: gives the model padded hidden states again."""

    scope: _Scope

    def __call__(self, layer: nn.Module, args: Arguments, out: Any) -> Any:
        return out if self.scope.geometry is None else _padded(self.scope.geometry, out)


@dataclass
class _LeaveOwner:
    """After the model: pads what is packed still, hidden states of inner layers, or all when the last was skipped."""

    scope: _Scope

    def __call__(self, owner: nn.Module, args: Arguments, out: Any) -> Any:
        geometry, self.scope.geometry = self.scope.geometry, None
        if geometry is not None and isinstance(out, ModelOutput):
            for name in list(out):
                out[name] = _padded(geometry, out[name])
        return out


def _padded(geometry: Geometry, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_padded(geometry, item) for item in value)
    return geometry.pad(value) if geometry.is_packed(value) and not geometry.is_padded(value) else value


def _without_cache(_: nn.Module, args: Arguments, kwargs: Named) -> tuple[Arguments, Named] | None:
    """A cache is made only for a caller who asks for it, whatever the configuration says."""
    return (args, kwargs | {"use_cache": False}) if kwargs.get("use_cache") is None else None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _bias_by_position(attention: Any, args: Arguments, kwargs: Named) -> tuple[Arguments, Named] | None:
    """T5 would build its bias for all pairs of packed tokens, [1, H, N, N]: hand it that of one row, [1, H, T, T]."""
    pack = kwargs.get("mask")
    if not isinstance(pack, Pack) or kwargs.get("position_bias") is not None:
        return None
    if attention.has_relative_attention_bias:
        length = pack.geometry.shape[1]
        bias = attention.compute_bias(length, length)
    else:
        bias = args[0].new_zeros(1, 1, 1, 1)
    return args, kwargs | {"position_bias": bias}
