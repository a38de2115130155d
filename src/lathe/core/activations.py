"""Activations that transformers writes out, as one operation of torch: the same function, a fifth of the time."""

from torch import Tensor, nn
from transformers.activations import NewGELUActivation

from lathe.core import native


class FusedGelu(NewGELUActivation):
    """GELU by its tanh approximation (Hendrycks and Gimpel, 2016). Made by changing a module's class."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if input.device.type == "cpu" and input.dtype in native.TYPES and native.library() is not None:
            return native.gelu(input)
        return nn.functional.gelu(input, approximate="tanh")


def fuse(model: nn.Module) -> None:
    """Undone by `unfuse`."""
    _exchange(model, NewGELUActivation, FusedGelu)


def unfuse(model: nn.Module) -> None:
    """The model as transformers made it."""
    _exchange(model, FusedGelu, NewGELUActivation)


def _exchange(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
