"""Encoders whose layers are smaller than their family makes them: what is cut out of them, and how it is told.

The configuration of a family gives one number for all layers, or none: BERT's heads are as many as fit into its width.
Where that does not say what a model is like, ``config.json`` says it under `SHAPE`, and a model opened by Lathe gets
layers of these sizes before its weights are read. Transformers refuses such a folder, since the sizes do not match.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core.errors import BundleError, LatheError, RecipeError
from lathe.core.recipe import dump, parse, recipe

SHAPE = "lathe_shape"
"""Where a configuration describes sizes that its family has no options for."""

Count = Annotated[int, Field(ge=1)]


@recipe
class Shape:
    """Sizes of the layers, each list with one number a layer; an empty one: as the configuration's own options say."""

    heads: tuple[Count, ...] = ()
    """Attention heads; their width stays hidden_size / num_attention_heads."""
    neurons: tuple[Count, ...] = ()
    """Width of the feed-forward part."""


class Family(NamedTuple):
    """Where a layer keeps what can be cut: names of its linear layers, and what they are made of."""

    projections: tuple[str, ...]  # to queries, keys and values
    context: str  # from what the heads have found
    inner: tuple[str, ...]  # to neurons
    outer: str  # from neurons
    counter: str | None = None  # the number of heads, where a layer keeps it
    neurons: str = "intermediate_size"  # the option
    stacked: tuple[int, int] = (1, 1)  # matrices one below the other in each of projections and inner
    begins: bool = False  # whether the first layer is made otherwise than the others


_BERT = Family(
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    ("intermediate.dense",),
    "output.dense",
    "attention.self.num_attention_heads",
)
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **dict.fromkeys(["bert", "camembert", "electra", "ernie", "roberta", "xlm-roberta"], _BERT),
        "distilbert": Family(
            ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            "attention.out_lin",
            ("ffn.lin1",),
            "ffn.lin2",
            "attention.n_heads",
            "hidden_dim",
        ),
        "lathe-encoder": Family(
            ("self_attention.q_proj", "self_attention.k_proj", "self_attention.v_proj"),
            "self_attention.o_proj",
            ("feed_forward.gate_proj", "feed_forward.up_proj"),
            "feed_forward.down_proj",
        ),
        "modernbert": Family(("attn.Wqkv",), "attn.Wo", ("mlp.Wi",), "mlp.Wo", stacked=(3, 2), begins=True),
    }
)
"""Encoders by `config.model_type`, each checked by tests."""


def refuse_other_family(config: PretrainedConfig, way: str) -> None:
    """Raises ``RecipeError`` for a model whose layers are not known; ``way`` is what to do instead."""
    family = config.model_type
    if family not in FAMILIES:
        shared = "its layers share one set of weights" if family == "albert" else f"known are {', '.join(FAMILIES)}"
        raise RecipeError(f"models of type {family!r} cannot be cut: {shared}; {way}")
    if getattr(config, "num_key_value_heads", None) not in (None, config.num_attention_heads):
        raise RecipeError(f"this model's heads share keys ({config.num_key_value_heads} for all): {way}")


@dataclass(frozen=True)
class Layer:
    """One layer of an encoder, and what it is made of."""

    module: nn.Module
    family: Family
    width: int  # of a head

    @property
    def heads(self) -> int:
        return self.linear(self.family.context).in_features // self.width

    @property
    def neurons(self) -> int:
        return self.linear(self.family.outer).in_features

    @property
    def projections(self) -> list[nn.Linear]:
        return [self.linear(name) for name in self.family.projections]

    @property
    def inner(self) -> list[nn.Linear]:
        """One, or two where one is a gate for the other."""
        known = dict(self.module.named_modules())
        return [self.linear(name) for name in self.family.inner if name in known]

    def linear(self, name: str) -> nn.Linear:
        found = self.module.get_submodule(name)
        if not isinstance(found, nn.Linear):
            raise LatheError(f"{name}: is {type(found).__name__}, not a plain linear layer")
        return found

    def keep_heads(self, kept: Sequence[int]) -> None:
        """Only these, in this order."""
        for linear in self.projections:
            _keep_outputs(linear, kept, self.family.stacked[0], self.width)
        _keep_inputs(self.linear(self.family.context), kept, self.width)
        if self.family.counter is not None:
            place, _, name = self.family.counter.rpartition(".")
            setattr(self.module.get_submodule(place), name, len(kept))

    def keep_neurons(self, kept: Sequence[int]) -> None:
        """Only these, in this order."""
        for linear in self.inner:
            _keep_outputs(linear, kept, self.family.stacked[1], 1)
        _keep_inputs(self.linear(self.family.outer), kept, 1)


def layers_of(model: PreTrainedModel) -> list[Layer]:
    """The layers of an encoder whose family is known, first to last."""
    config = model.config
    _, stack = stack_of(model)
    width = config.hidden_size // config.num_attention_heads
    return [Layer(module, FAMILIES[config.model_type], width) for module in stack]


def stack_of(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The list of layers, and its name. Raises ``RecipeError`` where there is not exactly one."""
    total = model.config.num_hidden_layers
    stacks = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == total]
    outer = [(name, m) for name, m in stacks if not any(name.startswith(f"{other}.") for other, _ in stacks)]
    if len(outer) != 1:
        raise RecipeError(
            f"models of type {model.config.model_type!r} have no single stack of layers to choose from; "
            "distil into student.kind=base or new"
        )
    return outer[0]


def keep_layers(model: PreTrainedModel, chosen: Sequence[int]) -> None:
    """Only these layers, in place; the configuration says so."""
    name, stack = stack_of(model)
    kept = nn.ModuleList(stack[i] for i in chosen)
    for index, layer in enumerate(kept):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]
    model.set_submodule(name, kept)
    model.config.num_hidden_layers = len(chosen)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[i] for i in chosen]
    if model.config.model_type in FAMILIES:
        describe(model)


def describe(model: PreTrainedModel) -> None:
    """Let the configuration say what the layers are like: by the family's own options where these can, or `SHAPE`."""
    config, layers = model.config, layers_of(model)
    heads, neurons = [layer.heads for layer in layers], [layer.neurons for layer in layers]
    if len(set(neurons)) == 1:
        setattr(config, layers[0].family.neurons, neurons[0])
        neurons = []
    if set(heads) == {config.num_attention_heads}:
        heads = []
    shape = Shape(heads=tuple(heads), neurons=tuple(neurons))
    if shape != Shape():
        setattr(config, SHAPE, dump(shape))
    elif hasattr(config, SHAPE):
        delattr(config, SHAPE)


def described(config: PretrainedConfig) -> Shape | None:
    """What a configuration says beside its family's own options. Raises ``BundleError`` where it makes no sense."""
    told = getattr(config, SHAPE, None)
    if told is None:
        return None
    try:
        shape: Shape = parse(Shape, told)
        refuse_other_family(config, "make the model again")
    except RecipeError as error:
        raise BundleError(f"config.json: {SHAPE}: {error}") from None
    most = {"heads": config.num_attention_heads, "neurons": getattr(config, FAMILIES[config.model_type].neurons)}
    for name, limit in most.items():
        sizes = getattr(shape, name)
        if sizes and (len(sizes) != config.num_hidden_layers or max(sizes) > limit):
            raise BundleError(
                f"config.json: {SHAPE}.{name}: {list(sizes)} is not of {config.num_hidden_layers} layers of at most "
                f"{limit}; the file was changed since it was written"
            )
    return shape


def reshape(model: PreTrainedModel, shape: Shape) -> None:
    """Layers of these sizes, before weights of these sizes are read into them."""
    for number, layer in enumerate(layers_of(model)):
        if shape.heads:
            layer.keep_heads(range(shape.heads[number]))
        if shape.neurons:
            layer.keep_neurons(range(shape.neurons[number]))


def opener(auto_model: Any, config: PretrainedConfig) -> Any:
    """What reads a folder's weights: ``auto_model``, or its class with layers of the shape that is described."""
    shape = described(config)
    if shape is None:
        return auto_model
    plain = auto_model._model_mapping[type(config)]

    def init(self: PreTrainedModel, *arguments: Any, **options: Any) -> None:
        plain.__init__(self, *arguments, **options)
        reshape(self, shape)
        self.__class__ = plain  # what is saved bears the name of the family's own class

    return type(plain.__name__, (plain,), {"__init__": init})


def _keep_outputs(linear: nn.Linear, kept: Sequence[int], blocks: int, width: int) -> None:
    """Of ``blocks`` matrices one below the other, each with units of ``width`` rows, the rows of the units ``kept``."""
    rows = _numbers(linear.out_features, blocks, width, kept, linear.weight.device)
    linear.weight = nn.Parameter(linear.weight.detach()[rows])
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[rows])
    linear.out_features = len(rows)


def _keep_inputs(linear: nn.Linear, kept: Sequence[int], width: int) -> None:
    columns = _numbers(linear.in_features, 1, width, kept, linear.weight.device)
    linear.weight = nn.Parameter(linear.weight.detach()[:, columns].contiguous())
    linear.in_features = len(columns)


def _numbers(size: int, blocks: int, width: int, kept: Sequence[int], place: torch.device) -> torch.Tensor:
    units = torch.arange(size, device=place).view(blocks, -1, width)
    return units[:, torch.tensor(list(kept), dtype=torch.int64, device=place)].flatten()
