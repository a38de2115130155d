"""Several models with one body: one network with several heads, whatever their families call body and head."""

import copy
from collections.abc import Iterable, Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

WORDS = "output embeddings"
"""The vocabulary head of a language model is no head of a task: it belongs to the body."""


class Heads(PreTrainedModel):
    """Models of one architecture whose bodies are the same parameters, each with a head of its own.

    Each is still the standard model that it was: it answers, packs and is saved by itself. What trains, saves or moves
    all of them sees every parameter once. A step goes through one of them; the heads of the others get no gradient.
    """

    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True  # what its networks do is their affair

    def __init__(self, networks: Iterable[PreTrainedModel]) -> None:
        """Each network from the second on takes over the parameters of those before it."""
        networks = iter(networks)
        first = next(networks)
        super().__init__(copy.deepcopy(first.config))
        known: dict[str, nn.Parameter] = {}
        share(first, known)
        self.networks = nn.ModuleList([first])
        for network in networks:
            share(network, known)
            network.set_input_embeddings(first.get_input_embeddings())  # one, whose gradient may be kept: core.tables
            self.networks.append(network)
        self.supports_gradient_checkpointing = first.supports_gradient_checkpointing

    @property
    def training(self) -> bool:
        """Whether all of it is: whoever asks one network for answers sets that one alone to evaluation."""
        networks = self._modules.get("networks")
        return networks is None or all(network.training for network in networks.children())

    @training.setter
    def training(self, mode: bool) -> None:
        """Networks are set one by one, by `train`."""

    def get_input_embeddings(self) -> nn.Module:
        return self._first.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module | None:
        found: nn.Module | None = self._first.get_output_embeddings()
        return found

    @property
    def _first(self) -> PreTrainedModel:
        first = self.networks[0]
        assert isinstance(first, PreTrainedModel)
        return first


def networks_of(model: PreTrainedModel) -> Sequence[PreTrainedModel]:
    """The standard models that it is made of: itself, unless it has several heads."""
    return [*model.networks] if isinstance(model, Heads) else [model]


def share(network: PreTrainedModel, known: dict[str, nn.Parameter]) -> None:
    """Put parameters of ``known`` in the place of those of this body that have the same names; new ones are added.

    Parameters that are one (tied weights) stay one.
    """
    ours: dict[int, nn.Parameter] = {}
    for name, own in _body(network).items():
        ours.setdefault(id(own), known.get(name, own))
        known.setdefault(name, ours[id(own)])
    for module in network.modules():
        for name, own in [*module.named_parameters(recurse=False, remove_duplicate=False)]:
            if ours.get(id(own), own) is not own:
                setattr(module, name, ours[id(own)])


def _body(network: PreTrainedModel) -> Mapping[str, nn.Parameter]:
    """The parameters that belong to no head of a task, by their names in the body."""
    body = dict(network.base_model.named_parameters(remove_duplicate=False))
    words = network.get_output_embeddings()
    return body if words is None else body | {f"{WORDS}.{name}": own for name, own in words.named_parameters()}
