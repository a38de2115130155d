"""Objectives whose rows are coupled: the loss of a row depends on the other rows of its *step*, whatever its cut.

First every micro-batch is embedded without a graph. The loss of the whole step and its gradient with respect to the
embeddings follow from these; each micro-batch then goes backward from its share of that gradient (Gao et al., 2021,
*Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*). The same dropout is drawn both times.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from lathe.core import parallel
from lathe.core.runtime import device
from lathe.core.types import Batch, Part, upcast

GRADIENT, LOSS = "coupled/gradient", "coupled/loss"
"""Targets of a micro-batch: d loss / d embedding [B, ...] of its rows in the whole step, and their loss [B]."""


@runtime_checkable
class Coupled(Protocol):
    """An objective that couples rows."""

    def embed(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the rows of a batch are to one another.  [B, ...]; 0 fills up what is smaller than in others."""

    def couple(self, embeddings: Tensor) -> Tensor:
        """The loss of each row among all rows.  [N, ...] -> [N]"""


Run: TypeAlias = Callable[[Callable[[nn.Module, Batch], Tensor], int, Batch], Tensor]
"""``run(compute, number, batch)``: the function of the model and a micro-batch, with the dropout of its number."""


def whole_step(objective: Any, micro: Sequence[Batch], run: Run) -> Sequence[Batch]:
    """The micro-batches of a step, each with what its rows are in the whole step of all ranks.

    Of an objective that does not couple rows, or of a step in one piece, the micro-batches as they are.
    """
    if not isinstance(objective, Coupled) or (len(micro) == 1 and parallel.ranks().size == 1):
        return micro
    with torch.no_grad():
        own = [upcast(run(objective.embed, number, batch)) for number, batch in enumerate(micro)]
    everything, first = _of_all_ranks(own)
    with torch.enable_grad():
        embeddings = everything.requires_grad_()
        losses = objective.couple(embeddings)
        (gradient,) = torch.autograd.grad(losses.sum(), embeddings)
    shared = []
    for batch, embedded in zip(micro, own, strict=True):
        rows = slice(first, first + len(embedded))
        about = {GRADIENT: gradient[rows][_corner(embedded)].to(embedded), LOSS: losses[rows].detach().to(embedded)}
        shared.append(replace(batch, targets={**batch.targets, **about}))
        first = rows.stop
    return shared


def coupled_part(objective: Coupled, model: nn.Module, batch: Batch, name: str) -> Part:
    """The loss of the rows in the whole step, with its gradient; of a batch by itself, in this batch."""
    embeddings = upcast(objective.embed(model, batch))
    if GRADIENT not in batch.targets:
        total = objective.couple(embeddings).sum()
    else:
        slope = (embeddings * batch.targets[GRADIENT]).sum()
        total = batch.targets[LOSS].sum() + slope - slope.detach()
    return Part(name, total, len(embeddings))


def _of_all_ranks(own: Sequence[Tensor]) -> tuple[Tensor, int]:
    """Embeddings of all ranks, one rank behind the other, and where those of this rank begin. It may have none."""
    mine = _joined(own)
    shapes = parallel.gather([*mine.shape])
    if len(shapes) == 1:
        return mine, 0
    counts = [shape[0] for shape in shapes]
    first = sum(counts[: parallel.ranks().rank])
    widths = _widest([shape[1:] for shape in shapes if shape[0]])
    everything = torch.zeros(sum(counts), *widths, dtype=torch.float64, device=device())
    if own:
        everything[first : first + len(mine)][_corner(mine)] = mine.to(everything)
    parallel.add_up_tensors([everything])
    return everything, first


def _joined(own: Sequence[Tensor]) -> Tensor:
    """Batch behind batch, filled up with 0 to the largest."""
    widths = _widest([[*one.shape[1:]] for one in own])
    whole = own[0].new_zeros(sum(map(len, own)), *widths) if own else torch.empty(0)
    for part, one in zip(whole.split([*map(len, own)]), own, strict=True):
        part[_corner(one)] = one
    return whole


def _widest(shapes: Sequence[Sequence[int]]) -> list[int]:
    return [max(sizes) for sizes in zip(*shapes, strict=True)]


def _corner(tensor: Tensor) -> tuple[slice, ...]:
    """Where its values stand in a larger one of as many rows."""
    return tuple(map(slice, tensor.shape))
