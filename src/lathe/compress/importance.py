"""What a model would lose without one of its parts: layers, attention heads, neurons of the feed-forward part.

Each gives a number for each part, of which only the order counts. With x a row, L(x) its loss, and ξ a mask that
multiplies what a part adds to the hidden states (ξ = 1 as the model is):

- ``taylor``: mean over rows of \\|∂L(x)/∂ξ\\|, the change of the loss to first order (Michel, Levy and Neubig, 2019)
- ``fisher``: mean over rows of (∂L(x)/∂ξ)², the diagonal of the empirical Fisher information (Kwon et al., 2022)
- ``magnitude``: the norm of the weights that would go; no rows are read
- ``random``: a draw; what the others have to beat
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from lathe.compress.candidate import Splits
from lathe.core.batches import cut
from lathe.core.fit import plain
from lathe.core.keyed import row_seeds, scalar_seed, uniform
from lathe.core.recipe import recipe
from lathe.core.report import progress
from lathe.core.types import Symbols
from lathe.models.shapes import Layer, layers_of
from lathe.tasks import AnyTask

TOKENS_PER_BATCH = 4096


class Importance(NamedTuple):
    """A number for each part of a model; lower ones go first."""

    layers: Tensor  # [L]
    heads: list[Tensor]  # of each layer [H]
    neurons: list[Tensor]  # of each layer [F]

    @classmethod
    def zeros(cls, model: PreTrainedModel) -> Self:
        layers, place = layers_of(model), next(model.parameters()).device
        heads = [torch.zeros(layer.heads, device=place) for layer in layers]
        neurons = [torch.zeros(layer.neurons, device=place) for layer in layers]
        return cls(torch.zeros(len(layers), device=place), heads, neurons)

    def over(self, count: int) -> Self:
        """The mean of ``count`` rows."""
        means = [heads.cpu() / count for heads in self.heads], [neurons.cpu() / count for neurons in self.neurons]
        return type(self)(self.layers.cpu() / count, *means)


@recipe
class Asking(ABC):
    """What both measures by gradients share."""

    kind: str
    rows: int = Field(1000, ge=1)
    """Training rows that are asked, chosen by key."""

    @abstractmethod
    def size(self, change: Tensor) -> Tensor:
        """What a change of a row's loss counts."""

    def __call__(self, model: PreTrainedModel, splits: Splits, task: AnyTask, symbols: Symbols) -> Importance:
        """Mean over rows of the size of ∂L/∂ξ = Σ a · ∂L/∂a, over tokens (and the numbers of a head).

        a is what ξ multiplies: of a layer what it adds to the hidden states. Rows of a batch do not see one another, so
        that one backward pass gives the gradients of all of them.
        """
        plain(model)
        model.eval()
        source, place = splits["train"].source, next(model.parameters()).device
        sums = Importance.zeros(model)
        handles = [h for number, layer in enumerate(layers_of(model)) for h in _watch(layer, number, sums, self.size)]
        asked = np.argsort(uniform(source.keys, "importance", 1)[:, 0], kind="stable")[: self.rows]
        asked = asked[np.argsort(source.lengths[asked], kind="stable")]
        with progress("weighing the parts", len(asked), "rows") as meter:
            for part in cut(source.lengths[asked], TOKENS_PER_BATCH):
                rows = asked[part]
                seeds = row_seeds(0, 0, source.keys[rows])
                batch = task.collate([source[int(i)] for i in rows], seeds, symbols).to(place)
                torch.stack([one.weight * one.total for one in task.loss(model, batch)]).sum().backward()
                model.zero_grad(set_to_none=True)
                meter.advance(len(rows))
        for handle in handles:
            handle.remove()
        return sums.over(len(asked))


@recipe
class Taylor(Asking):
    """How much the loss of a row would change without the part, to first order."""

    kind: Literal["taylor"] = "taylor"

    def size(self, change: Tensor) -> Tensor:
        return change.abs()


@recipe
class Fisher(Asking):
    """The square of that change: rows that it would change much count for more."""

    kind: Literal["fisher"] = "fisher"

    def size(self, change: Tensor) -> Tensor:
        return change.square()


@recipe
class Magnitude:
    """The norm of the weights that make and read the part."""

    kind: Literal["magnitude"] = "magnitude"

    def __call__(self, model: PreTrainedModel, splits: Splits, task: AnyTask, symbols: Symbols) -> Importance:
        layers = layers_of(model)
        whole = [torch.stack([p.detach().square().sum() for p in layer.module.parameters()]).sum() for layer in layers]
        return Importance(torch.stack(whole).sqrt(), [*map(_of_heads, layers)], [*map(_of_neurons, layers)])


@recipe
class Random:
    """Drawn by a seed: the control."""

    kind: Literal["random"] = "random"
    seed: int = 0
    """Another seed, another choice."""

    def __call__(self, model: PreTrainedModel, splits: Splits, task: AnyTask, symbols: Symbols) -> Importance:
        layers = layers_of(model)
        generator = torch.Generator().manual_seed(scalar_seed("prune", self.seed))
        heads = [torch.rand(layer.heads, generator=generator) for layer in layers]
        neurons = [torch.rand(layer.neurons, generator=generator) for layer in layers]
        return Importance(torch.rand(len(layers), generator=generator), heads, neurons)


AnyImportance = Annotated[Taylor | Fisher | Magnitude | Random, Field(discriminator="kind")]


def _of_heads(layer: Layer) -> Tensor:
    blocks, width = layer.family.stacked[0], layer.width
    makes = [linear.weight.detach().view(blocks, -1, width, linear.in_features) for linear in layer.projections]
    reads = layer.linear(layer.family.context).weight.detach().view(-1, layer.heads, width)
    return (sum(w.square().sum((0, 2, 3)) for w in makes) + reads.square().sum((0, 2))).sqrt()


def _of_neurons(layer: Layer) -> Tensor:
    makes = [linear.weight.detach().view(layer.family.stacked[1], -1, linear.in_features) for linear in layer.inner]
    reads = layer.linear(layer.family.outer).weight.detach()
    return (sum(w.square().sum((0, 2)) for w in makes) + reads.square().sum(0)).sqrt()


def _watch(layer: Layer, number: int, sums: Importance, size: Callable[[Tensor], Tensor]) -> list[Any]:
    """Adds up, in every backward pass, what the parts of a layer would change."""

    def before_context(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        def of_heads(change: Tensor) -> Tensor:
            by_head: Tensor = change.unflatten(-1, (-1, layer.width)).sum((1, 3))  # [B, T, H * width] -> [B, H]
            return by_head

        _add_up(arguments[0], arguments[0], lambda change: size(of_heads(change)), sums.heads[number])

    def before_outer(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        _add_up(arguments[0], arguments[0], lambda change: size(change.sum(1)), sums.neurons[number])  # [B, F]

    def after_layer(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        added = output - (arguments[0] if arguments else named["hidden_states"])
        _add_up(output, added, lambda change: size(change.sum((1, 2))), sums.layers[number])  # [B]

    return [
        layer.linear(layer.family.context).register_forward_pre_hook(before_context),
        layer.linear(layer.family.outer).register_forward_pre_hook(before_outer),
        layer.module.register_forward_hook(after_layer, with_kwargs=True),
    ]


def _add_up(tensor: Tensor, masked: Tensor, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
    """Adds, in the backward pass, what ``of`` makes of ``masked`` · ∂L/∂``tensor`` to ``total``, over all rows."""

    def add(grad: Tensor) -> None:
        total.add_(of(masked.detach() * grad).sum(0))

    tensor.register_hook(add)
