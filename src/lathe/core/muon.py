"""Muon (Jordan et al., 2024), the update of `torch.optim.Muon`, with matrices of one shape orthogonalized together.

A small model has many small matrices, and five Newton-Schulz steps are fifteen products for each. One product of a
stack of them takes half the time or less.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the polynomial whose repetition drives all singular values towards 1; chosen for its slope at 0."""
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class StackedMuon(Optimizer):
    """Nesterov momentum, made orthogonal, at the usual size of AdamW's updates (Liu et al., 2025)."""

    def __init__(self, matrices: Sequence[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "the training loop computes gradients itself"
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.grad is not None]
            if not matrices:
                continue
            gradients = [p.grad for p in matrices]
            means = [self._mean(p) for p in matrices]
            torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, means, group["momentum"])
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            for alike in _by_shape(updates):
                for index, update in zip(alike, orthogonal([updates[i] for i in alike]), strict=True):
                    size = 0.2 * math.sqrt(max(update.shape))
                    matrices[index].add_(update, alpha=-group["lr"] * size)

    def _mean(self, matrix: nn.Parameter) -> Tensor:
        """The running mean of its gradient."""
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        mean: Tensor = state["momentum_buffer"]
        return mean


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The nearest orthogonal matrix of each, roughly: singular values between 0.7 and 1.2. In bf16.

    ``matrices`` are all [m, n] or [n, m]: the tall ones are transposed meanwhile.
    """
    a, b, c = COEFFICIENTS
    halves = [matrix.bfloat16() for matrix in matrices]
    norms = torch.stack([half.norm() for half in halves]).clamp(min=SMALLEST_NORM)
    stack = torch.stack([half.mT if _is_tall(half) else half for half in halves]).div_(norms[:, None, None])
    for _ in range(ITERATIONS):
        gram = stack @ stack.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        stack = torch.baddbmm(stack, polynomial, stack, beta=a)
    return [found.mT if _is_tall(matrix) else found for matrix, found in zip(matrices, stack, strict=True)]


def _by_shape(matrices: Sequence[Tensor]) -> Iterator[list[int]]:
    """Indices of the matrices that have one shape, turned or not, on one device."""
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        found[(*sorted(matrix.shape), matrix.device)].append(index)
    yield from found.values()


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]
