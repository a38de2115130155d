"""AdamW as `torch.optim.AdamW` has it, in one pass over memory, without what there is to save on it.

A step reads a gradient, a weight and two moments of 4 bytes each, and writes all but the gradient: memory is what it
waits for. So clipping is folded in, and rows of a word table (`lathe.core.tables`) that no gradient has ever reached
are only decayed: their moments are 0, are not visited, and take no memory.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lathe.core import native, runtime
from lathe.core.tables import Table


class OnePassAdamW(Optimizer):
    """Its state has the names of torch's, so that either goes on where the other has stopped.

    For parameters that `native.takes`; gradients are made contiguous where they are not.
    """

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self._alive: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # exp_avg; [rows] which of it may not be 0

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "the training loop computes gradients itself"
        self.update(1.0, {})

    @torch.no_grad()
    def update(self, factor: float, tables: Mapping[Tensor, Table]) -> None:
        """One step with gradients times ``factor``; ``tables`` own the parameters whose gradient is kept."""
        with torch.profiler.record_function("optimizer"):
            updates = list(self._updates(tables))
            native.adamw(updates, factor)
            torch.autograd.graph.increment_version([update.weight for update in updates])

    def _updates(self, tables: Mapping[Tensor, Table]) -> Iterator[native.Update]:
        for group in self.param_groups:
            rates = (group["lr"], group["weight_decay"], group["betas"], group["eps"])
            for parameter in (p for p in group["params"] if p.grad is not None):
                table = tables.get(parameter)
                state = self._state(parameter, table)
                state["step"] += 1
                alive = self._reached(parameter, table)
                moments = (state["exp_avg"], state["exp_avg_sq"])
                yield native.Update(
                    parameter, parameter.grad.contiguous(), *moments, alive, *rates, step=int(state["step"])
                )

    def _state(self, parameter: nn.Parameter, table: Table | None) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            zeros = torch.zeros_like if table is None else runtime.zero_pages
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = zeros(parameter), zeros(parameter)
            if table is not None:  # known without looking at them
                self._alive[parameter] = state["exp_avg"], torch.zeros(len(parameter), dtype=torch.uint8)
        return state

    def _reached(self, parameter: nn.Parameter, table: Table | None) -> Tensor | None:
        """Rows that a gradient has reached in this step or before, as 1.  [V]

        They are found in the moments where these are not the ones of the last step: after a resume, or a rewind.
        """
        if table is None:
            self._alive.pop(parameter, None)
            return None
        state = self.state[parameter]
        known = self._alive.get(parameter)
        if known is None or known[0] is not state["exp_avg"]:
            known = state["exp_avg"], _rows_not_zero(state["exp_avg"]) | _rows_not_zero(state["exp_avg_sq"])
            self._alive[parameter] = known
        alive = known[1]
        alive.index_fill_(0, table.reached(), 1)
        return alive


def _rows_not_zero(moment: Tensor) -> Tensor:
    """Rows with any bit that is set; -0.0 has one, and the next update would take it away.  [V, D] -> [V]"""
    return moment.view(torch.int32).any(1).to(torch.uint8)
