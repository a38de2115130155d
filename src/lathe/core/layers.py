"""Where in a model each parameter is: lower layers can be trained more slowly, or not at all."""

from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

from lathe.core.errors import RecipeError
from lathe.core.packing import stacks


class Place(NamedTuple):
    """A parameter's layer, counted from below: 0 before the first (embeddings), ``layers + 1`` after the last."""

    layer: int
    layers: int


def places(model: PreTrainedModel) -> dict[nn.Parameter, Place]:
    """Every parameter's place; encoder and decoder are counted each for itself, layers that share weights once.

    Raises ``RecipeError`` for a model without a list of layers.
    """
    found: dict[nn.Parameter, Place] = {}
    lists = [stack for _, stack in stacks(model)]
    if not lists:
        raise RecipeError(
            f"models of type {model.config.model_type!r} have no list of layers that could be told apart; train all of "
            "it (adapt.kind=full, without train.layer_decay)"
        )
    for stack in lists:
        for number, layer in enumerate(stack, 1):
            found |= dict.fromkeys(layer.parameters(), Place(number, len(stack)))
    most = max(map(len, lists))
    words = {p for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    is_below = True
    for parameter in model.parameters():
        if parameter in found:
            is_below = False
        else:
            found[parameter] = Place(0 if is_below or parameter in words else most + 1, most)
    return found


def rate_factors(model: PreTrainedModel, decay: float) -> dict[nn.Parameter, float]:
    """Layer-wise decay of the learning rate: ``decay`` to the power of layers from the top, its own included.

    1 for what comes after the layers, ``decay`` for the top layer, its power n + 1 for the embeddings below n layers.
    """
    return {parameter: decay ** (layers + 1 - layer) for parameter, (layer, layers) in places(model).items()}
