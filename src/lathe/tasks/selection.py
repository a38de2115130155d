"""Which step has the best model, and when there is no use in going on: functions of what evaluations found."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lathe.core.errors import LatheError
from lathe.core.metrics import METRICS
from lathe.core.report import say

LOSS = "loss"
"""What every task has beside its metrics: nats an item, lower is better."""


@dataclass(frozen=True)
class Selection:
    """Selects by one metric, in its direction. What it has seen is kept in the ``memory`` of the run, which resumes."""

    metric: str
    patience: int | None = None  # evaluations without anything better, after which it is enough
    threshold: float = 0.0

    @property
    def higher_is_better(self) -> bool:
        return self.metric != LOSS and (self.metric not in METRICS or METRICS[self.metric].higher_is_better)

    def is_best(self, memory: dict[str, Any], step: int, scores: Mapping[str, float]) -> bool:
        """Take in an evaluation; whether it is the best so far. The earliest one wins a draw, and NaN never does."""
        found, worst = scores[self.metric], -math.inf if self.higher_is_better else math.inf
        better = self._gain(found, memory.get("better", worst)) > self.threshold
        best = self._gain(found, memory.get("best_score", worst)) > 0
        memory |= {"evaluated": step, "waited": 0 if better else memory.get("waited", 0) + 1}
        memory |= {"better": found} if better else {}
        memory |= {"best_score": found, "best_step": step} if best else {}
        return best

    def has_enough(self, memory: Mapping[str, Any]) -> bool:
        return self.patience is not None and memory["waited"] >= self.patience

    def outcome(self, memory: Mapping[str, Any], planned: int) -> dict[str, Any]:
        """The best step of a run, and why it is. Raises ``LatheError`` where no evaluation found a number."""
        if "best_step" not in memory:
            raise LatheError(
                f"validation {self.metric}: no evaluation found a number, so no step is the best; look at the rows of "
                "data.validation, and lower train.learning_rate if the loss rose"
            )
        best, found = memory["best_step"], memory["best_score"]
        way = "highest" if self.higher_is_better else "lowest"
        say(f"step {best} of {memory['evaluated']} is the best: {way} validation {self.metric}, {found:.4f}")
        taken = {"best_step": best, "steps": memory["evaluated"], "selected_by": f"{way} validation {self.metric}"}
        return taken | ({"planned_steps": planned} if memory["evaluated"] < planned else {})

    def _gain(self, found: float, before: float) -> float:
        return found - before if self.higher_is_better else before - found
