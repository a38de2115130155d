"""Whether a step may change the weights: it is finite, and no spike beside the steps before it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WINDOW = 128
"""Steps that a step is compared with; none is judged before half of them have been taken."""


@dataclass
class Health:
    """How the steps of a run went. Part of every checkpoint: a resumed run must judge as the unbroken one would.

    It sees the loss and the norm of whole steps, so every rank of a run comes to the same verdict.
    """

    losses: list[float] = field(default_factory=list)  # of the last WINDOW steps that were taken
    norms: list[float] = field(default_factory=list)  # of their gradients, before clipping
    bad_steps: int = 0  # passed over in a row
    rewinds: int = 0
    anchor: int | None = None  # the step whose checkpoint a rewind goes back to

    def objection(self, loss: float, norm: float, sigma: float | None) -> str:
        """What speaks against the update; empty where nothing does.

        A spike is a loss or a norm above mean + sigma * deviation of the window. As OLMo's SkipStepOptimizer (2 OLMo 2
        Furious, 2024), but here the window holds only steps that were taken: a spike does not widen what is allowed.
        """
        if not math.isfinite(loss) or not math.isfinite(norm):
            return f"loss {loss}, gradient norm {norm}"
        if sigma is not None:
            for name, value, before in (("loss", loss, self.losses), ("gradient norm", norm, self.norms)):
                if len(before) >= WINDOW // 2 and value > (limit := spike_limit(before, sigma)):
                    return f"{name} {value:.6g} is a spike: more than {limit:.6g}, {sigma:g} deviations above the mean"
        return ""

    def took(self, loss: float, norm: float) -> None:
        """A step was taken."""
        self.bad_steps = 0
        self.losses = [*self.losses, loss][-WINDOW:]
        self.norms = [*self.norms, norm][-WINDOW:]


def spike_limit(before: Sequence[float], sigma: float) -> float:
    """mean + ``sigma`` * standard deviation, of two values at least."""
    mean = math.fsum(before) / len(before)
    return mean + sigma * math.sqrt(math.fsum((value - mean) ** 2 for value in before) / (len(before) - 1))
