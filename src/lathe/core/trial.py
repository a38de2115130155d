"""The first steps of a training run, taken to see how long they last and what they hold in memory."""

import time
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from lathe.core import learn
from lathe.core.batches import Counts
from lathe.core.fit import fit
from lathe.core.ready import Ready, Steps
from lathe.core.runtime import memory_in_use
from lathe.core.work import Work

COLD_SHARE = 1 / 3
"""Share of a trial's time in which its steps are slow: memory is new, and products of new shapes are compiled."""
LEAST_STEPS = 6
GROWTH = 0.15
"""A heap goes on growing, until blocks of all sizes have places: this much of what training took, where a trial has
seen few of the steps; less by the share that it has seen."""


@dataclass(frozen=True)
class Trial:
    """What was seen."""

    seconds: tuple[float, ...]  # of each step, from the first of the run
    tokens: tuple[int, ...]
    cold: int  # steps at the beginning that do not stand for the rest
    memory: int  # bytes that the run will hold at most, on top of what there was before the model
    evaluation_seconds_per_token: float

    def whole_run(self, tokens: Counts) -> float:
        """Seconds of all steps, which have so many ``tokens`` each.

        What a warm step takes is a + b tokens, by least squares; what the cold ones took beyond it is paid once.
        """
        seen_s, seen = np.array(self.seconds), np.array(self.tokens, np.float64)
        if len(seen) >= len(tokens):
            return float(seen_s[: len(tokens)].sum())
        warm_s, warm = seen_s[self.cold :], seen[self.cold :]
        apart = warm - warm.mean()
        slope = max(0.0, float(apart @ warm_s / (apart @ apart))) if warm.std() > 0.02 * warm.mean() else 0.0
        expected = warm_s.mean() + slope * (tokens - warm.mean())
        extra = seen_s[: self.cold].sum() - expected[: self.cold].sum()
        return float(expected.sum() + max(0.0, extra))


def first_steps(ready: Ready, all_steps: Steps, work: Work, seconds: float, ahead: int = 0) -> Trial:
    """Train for about so many ``seconds``, and evaluate on a sample. The process should be a fresh one.

    It has taken ``ahead`` bytes for the run as the run does, which decides where later blocks find their places. Where
    the largest step of the run has not been among them it is gone through as well, since it decides about memory.
    """
    before, _ = memory_in_use()
    model = ready.build()
    spent: list[float] = []
    tokens: list[int] = []
    cold = evaluated = evaluations_took = 0
    evaluation_s = 0.0
    with closing(fit(model, ready.course, ready.config, work, {})) as steps:
        for step in steps:
            spent.append(step.seconds)
            tokens.append(step.tokens)
            if not cold and len(spent) >= LEAST_STEPS // 3 and sum(spent) >= COLD_SHARE * seconds:
                cold = len(spent)
                if ready.evaluations:
                    trained = memory_in_use()[1]
                    ready.evaluations.sample(model)
                    evaluations_took += memory_in_use()[1] - trained
            if len(spent) >= LEAST_STEPS and sum(spent) >= seconds:
                break
        if ready.evaluations:
            trained, started_s = memory_in_use()[1], time.perf_counter()
            evaluated = ready.evaluations.sample(model)
            evaluation_s = time.perf_counter() - started_s
            evaluations_took += memory_in_use()[1] - trained
        if all_steps.largest >= len(spent):
            learn.go_through(model, ready.course.objective, all_steps.at(all_steps.largest), ready.config)
    taken = memory_in_use()[1] - before + ahead
    if model.device.type == "cpu":
        taken += round(GROWTH * (1 - len(spent) / len(all_steps.tokens)) * (taken - evaluations_took))
    return Trial(tuple(spent), tuple(tokens), cold, taken, evaluation_s / max(evaluated, 1))
