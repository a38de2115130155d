"""Embedding tables whose gradient costs what a batch costs, not what the vocabulary costs.

In every step torch makes a new gradient of the whole table [V, D], zeros but for a few hundred rows, and its norm reads
all of it. Here the gradient stays where it is, and only the rows that the last step touched are zeroed; the norm,
clipping and AdamW look at touched rows. The numbers are the same.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from lathe.core import native, parallel
from lathe.core.runtime import zero_pages

SMALLEST = 1 << 20  # numbers in a table: nothing is gained with fewer


def keep_gradients(model: PreTrainedModel) -> None:
    """The word table of ``model``, if large, keeps its gradient between steps; undone by `release_gradients`.

    Only for models that look words up in it and use it nowhere else: every family that runs packed is tested for that.
    A table that is also the vocabulary head gets a dense gradient from there, and is left alone.
    """
    table = model.get_input_embeddings()
    if type(table) is nn.Embedding and _gains(table) and _uses(model, table.weight) == 1:
        _change_class(table, Table)


def release_gradients(model: nn.Module) -> None:
    """Undo `keep_gradients`, and free what it kept."""
    for module in list(model.modules()):
        if isinstance(module, Table):
            module.weight.grad = None
            for name in ("kept", "ids"):
                vars(module).pop(name, None)
            _change_class(module, nn.Embedding)


def add_up(model: nn.Module) -> None:
    """Gradients become their sums over all ranks.

    A parameter that got none on any rank keeps none. Of a kept gradient only rows go round that some rank has touched.
    """
    if parallel.ranks().size == 1:
        return
    tables = kept(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    have = parallel.gather("".join("-+"[parameter.grad is not None] for parameter in trained))
    reached = [parameter for parameter, *marks in zip(trained, *have, strict=True) if "+" in marks]
    for parameter in (parameter for parameter in reached if parameter.grad is None):
        if (table := tables.get(parameter)) is not None:
            table.add(torch.empty(0, dtype=torch.int64), parameter.new_empty(0, parameter.shape[1]))
        else:
            parameter.grad = torch.zeros_like(parameter)
    parts = []
    for table in (tables[parameter] for parameter in reached if parameter in tables):
        ids = torch.tensor(sorted(set().union(*parallel.gather(table.touched().tolist()))), dtype=torch.int64)
        parts.append((table, ids, table.rows(ids)))
    dense = [parameter.grad for parameter in reached if parameter.grad is not None and parameter not in tables]
    parallel.add_up_tensors([*dense, *(rows for _, _, rows in parts)])
    for table, ids, rows in parts:
        table.grad.index_copy_(0, ids, rows)
        table.ids = (ids,)


def kept(model: nn.Module) -> dict[Tensor, "Table"]:
    """The tables that keep their gradient, by their weight."""
    return {module.weight: module for module in model.modules() if isinstance(module, Table)}


def norm(model: nn.Module) -> float:
    """The norm of all gradients."""
    tables = kept(model)
    reached = [parameter for parameter in model.parameters() if parameter.grad is not None]
    rows = [tables[p].rows(tables[p].touched()) for p in reached if p in tables]
    return native.norm([p.grad for p in reached if p.grad is not None and p not in tables] + rows)


def scale(parameters: Iterable[Tensor], tables: Mapping[Tensor, "Table"], factor: float) -> None:
    """Multiply the gradients of ``parameters``; ``tables`` are the owners of those that keep theirs."""
    for parameter in parameters:
        if parameter.grad is not None and (table := tables.get(parameter)) is not None:
            ids = table.touched()
            table.grad.index_copy_(0, ids, table.rows(ids) * factor)
        elif parameter.grad is not None:
            parameter.grad.mul_(factor)


class Table(nn.Embedding):
    """`nn.Embedding` with a gradient that outlives the step. Made by changing a module's class."""

    kept: Tensor | None = None  # [V, D] weight.grad of this step or the last
    ids: tuple[Tensor, ...] = ()  # its rows that are not zero; they may repeat

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input)
        found: Tensor = _Lookup.apply(self.weight, input, self)
        return found

    def touched(self) -> Tensor:
        """Rows that the gradient has reached, each once.  [n]"""
        ids: Tensor = self.reached().unique()
        return ids

    def reached(self) -> Tensor:
        """The same; they may repeat.  [n]"""
        return torch.cat(self.ids)

    def rows(self, ids: Tensor) -> Tensor:
        """A copy of these rows of the gradient.  [n, D]"""
        return self.grad.index_select(0, ids)

    @property
    def grad(self) -> Tensor:
        """[V, D]"""
        assert self.weight.grad is not None
        return self.weight.grad

    def add(self, ids: Tensor, rows: Tensor) -> None:
        """Add ``rows`` [n, D] to the gradient at ``ids`` [n], which may repeat."""
        if self.padding_idx is not None:
            real = (ids != self.padding_idx).nonzero().squeeze(1)
            ids, rows = ids[real], rows[real]
        if self.weight.grad is None:  # the first time since the optimizer has let go of it
            self.weight.grad = self._zeros()
        self.ids = (*self.ids, ids)
        self.grad.index_add_(0, ids, rows.to(self.weight.dtype))

    def _zeros(self) -> Tensor:
        if self.kept is None or self.kept.device != self.weight.device:
            self.kept = zero_pages(self.weight)
        elif self.ids:
            self.kept.index_fill_(0, torch.cat(self.ids), 0)
        self.ids = ()
        return self.kept


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, table: Table) -> Tensor:
        ctx.ids, ctx.table = ids, table
        found: Tensor = nn.functional.embedding(ids, weight)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        ctx.table.add(ctx.ids.flatten(), grads[0].reshape(-1, grads[0].shape[-1]))
        return None, None, None


def _change_class(module: nn.Module, new: type[nn.Module]) -> None:
    """Not the module: its name, parameters, hooks and copies stay as they are."""
    module.__class__ = new


def _gains(table: nn.Embedding) -> bool:
    plain = table.max_norm is None and not table.scale_grad_by_freq and not table.sparse
    return plain and table.weight.device.type == "cpu" and table.weight.numel() >= SMALLEST


def _uses(model: nn.Module, weight: Tensor) -> int:
    return sum(own is weight for module in model.modules() for own in module.parameters(recurse=False))
