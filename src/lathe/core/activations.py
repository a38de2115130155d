"""Activations that transformers writes out or torch takes long for, as one operation: the same functions."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor, nn
from transformers.activations import GELUActivation, GELUTanh, NewGELUActivation

from lathe.core import native
from lathe.core.exchange import exchange


class FusedGelu(GELUActivation):
    """GELU (Hendrycks and Gimpel, 2016). Made by changing a module's class."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return native.activation(input, "gelu") if native.serves(input) else nn.functional.gelu(input)


class FusedTanhGelu(NewGELUActivation):
    """GELU by its tanh approximation. Made by changing a module's class."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if native.serves(input):
            activated: Tensor = native.activation(input, "gelu_tanh")
            return activated
        return nn.functional.gelu(input, approximate="tanh")


FUSED: Mapping[type[nn.Module], type[nn.Module]] = MappingProxyType(
    {GELUActivation: FusedGelu, NewGELUActivation: FusedTanhGelu}
)
KINDS: Mapping[type[nn.Module], str] = MappingProxyType(
    {
        GELUActivation: "gelu",
        FusedGelu: "gelu",
        NewGELUActivation: "gelu_tanh",
        FusedTanhGelu: "gelu_tanh",
        GELUTanh: "gelu_tanh",
        nn.ReLU: "relu",
    }
)


def kind_of(module: object) -> str | None:
    """The name of its function among Lathe's operations; None for another."""
    return KINDS.get(type(module))  # type: ignore[arg-type]


def fuse(model: nn.Module) -> None:
    """Undone by `unfuse`."""
    for plain, fused in FUSED.items():
        exchange(model, plain, fused)


def unfuse(model: nn.Module) -> None:
    """The model as transformers made it."""
    for plain, fused in FUSED.items():
        exchange(model, fused, plain)
