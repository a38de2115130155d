"""A running average of the weights: late in a run it is a better model than the last step's weights.

The average of Kingma and Ba (2015), section 7.2: weights of k steps ago count decay^k, and the sum is divided by what
these factors sum to, so that the weights before the first step count nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

UPDATES = "#updates"  # no name of a parameter


class Average:
    """The average of a model's trainable weights over the steps of a run."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._mean = {name: p.detach().clone() for name, p in self._parameters.items()}

    def update(self) -> None:
        """Take in the weights as they are now: mean <- mean + (1 - decay) / (1 - decay^k) (weights - mean).

        After few steps this is close to their plain mean; the first time it is the weights themselves.
        """
        self._updates += 1
        share = (1 - self._decay) / (1 - self._decay**self._updates)
        now = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._mean.values()), now, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the model has the averaged weights; then those that it had, bit for bit."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Averaged weights into the model, the model's weights here; no number is copied."""
        for name, parameter in self._parameters.items():
            parameter.data, self._mean[name] = self._mean[name], parameter.data

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs."""
        return self._mean | {UPDATES: torch.tensor(self._updates)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`: the average is exactly what it was."""
        self._updates = int(tensors[UPDATES])
        for name, mean in self._mean.items():
            mean.copy_(tensors[name])
