"""Activation checkpointing (Chen et al., 2016): a layer keeps its input only, and runs again in the backward pass.

Memory for about a third more arithmetic. The numbers are the same bit for bit: the layer runs again with torch's
generators as they were, and all dropout, also ours, takes its draws or its seed from them.
"""

from typing import Any

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from lathe.core.errors import RecipeError


def recompute_layers(model: PreTrainedModel) -> None:
    """Make every layer of ``model`` run again in the backward pass; undone by `keep_activations`.

    Raises ``RecipeError`` for a family whose layers cannot.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not model.supports_gradient_checkpointing or not layers:
        raise RecipeError(
            f"train.gradient_checkpointing: models of type {model.config.model_type!r} do not support it in "
            "transformers; set it to false, and lower train.tokens_per_batch where memory is short"
        )
    _method(model, "enable")({"use_reentrant": False})
    model.disable_input_require_grads()  # frozen inputs need gradients in the reentrant variant only


def keep_activations(model: PreTrainedModel) -> None:
    """Undo `recompute_layers`."""
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        _method(model, "disable")()


def _method(model: PreTrainedModel, name: str) -> Any:
    """transformers 5 gives them new names, and warns of the old ones."""
    return getattr(model, f"activation_checkpointing_{name}", None) or getattr(model, f"gradient_checkpointing_{name}")
