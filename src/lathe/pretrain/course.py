"""The course of a run: old rows among the new ones, and a beginning with shorter rows or smaller steps."""

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from pydantic import Field

from lathe.core.batches import AnyPlan, Joined, Phased, Plan, Replay, Source, StepSize, Stretch
from lathe.core.errors import RecipeError
from lathe.core.learn import Train
from lathe.core.optim import AdamW, AnyOptimizer
from lathe.core.recipe import recipe


@recipe
class Phase:
    """A part of the beginning of a run."""

    ratio: float = Field(gt=0, lt=1)
    """Share of the run's tokens."""
    max_length: int | None = Field(None, ge=2)
    """Longest row in tokens; as the run's where not given. Rows of a length of their own pass over the whole text."""
    tokens_per_step: int | None = Field(None, ge=1)
    """Tokens in each step, at most as many as the run's."""


@recipe
class PretrainTrain(Train):
    learning_rate: float = Field(1e-3, gt=0)
    """Highest learning rate."""
    epochs: float = Field(1.0, gt=0, le=1000)
    """Passes over the text."""
    tokens_per_step: int = Field(8192, ge=1)
    """Tokens in each optimizer step."""
    phases: tuple[Phase, ...] = ()
    """The beginning of the run, with shorter rows or smaller steps; after it max_length and tokens_per_step hold."""
    eval_steps: int | None = Field(None, ge=1)
    """Steps between evaluations; without it ten times in all."""
    optimizer: AnyOptimizer = AdamW(adam_beta2=0.98)
    """Update rule."""

    @property
    def step_sizes(self) -> list[StepSize]:
        """Of each phase, and of what comes after them."""
        tokens = [*(phase.tokens_per_step or self.tokens_per_step for phase in self.phases), self.tokens_per_step]
        return [StepSize(amount, "tokens") for amount in tokens]


class Text(NamedTuple):
    """All rows of one length, and which of them are old."""

    source: Source
    replay: Replay | None = None


class Laid(NamedTuple):
    """What is learnt from, and in which steps."""

    source: Source
    plan: AnyPlan
    total: int  # steps


def mixed(new: Source, old: Source, ratio: float) -> Text:
    """New rows, and so many old ones in each epoch that they are this share of its rows."""
    return Text(Joined((new, old)), Replay(len(new), max(1, round(ratio / (1 - ratio) * len(new)))))


def lay(text: Callable[[int], Text], max_length: int, config: PretrainTrain) -> Laid:
    """Steps over ``text`` in rows of at most ``max_length`` tokens, its phases first; ``text`` is asked once a length.

    A whole step has ``train.tokens_per_step`` tokens of rows of its phase's length. A phase with smaller steps cuts
    whole ones, so that a pass over the text stays one, whatever the size of its steps.
    """
    size = StepSize(config.tokens_per_step, "tokens")
    _refuse_phases(config, max_length)
    lengths = [*(phase.max_length or max_length for phase in config.phases), max_length]
    texts = {length: text(length) for length in dict.fromkeys(lengths)}
    plans = {n: Plan(one.source.lengths, size, config.seed, replay=one.replay) for n, one in texts.items()}
    if not config.phases:
        plan = plans[max_length]
        return Laid(texts[max_length].source, plan, config.max_steps or plan.count(config.epochs))
    whole = _whole_steps(plans[max_length], config)
    ends = accumulate(len(one.source) for one in texts.values())
    firsts = {n: end - len(one.source) for (n, one), end in zip(texts.items(), ends, strict=True)}
    stretches: list[Stretch] = []
    taken = dict.fromkeys(texts, 0)
    for length, steps, own in zip(lengths, whole, config.step_sizes, strict=True):
        stretches.append(Stretch(plans[length], taken[length], steps, own, firsts[length]))
        taken[length] += steps
    source = Joined([one.source for one in texts.values()])
    phased = Phased(source.lengths, tuple(stretches))
    return Laid(source, phased, config.max_steps or phased.total)


def _whole_steps(plan: Plan, config: PretrainTrain) -> list[int]:
    """How many whole steps each phase has, and what comes after them."""
    ratios = [phase.ratio for phase in config.phases]
    ratios.append(1 - sum(ratios))
    if config.max_steps is None:
        total = plan.count(config.epochs)
    else:
        steps = (r * config.tokens_per_step / size.amount for r, size in zip(ratios, config.step_sizes, strict=True))
        total = round(config.max_steps / sum(steps))
    early = [max(1, round(ratio * total)) for ratio in ratios[:-1]]
    if sum(early) >= total:
        raise RecipeError(
            f"train.phases: {len(early)} phases leave nothing of a run of {total} whole steps; make it longer"
        )
    return [*early, total - sum(early)]


def _refuse_phases(config: PretrainTrain, max_length: int) -> None:
    if sum(phase.ratio for phase in config.phases) >= 1:
        raise RecipeError("train.phases: their ratios add up to 1 or more; what is left of 1 is the run itself")
    for number, phase in enumerate(config.phases):
        if (phase.max_length or 0) > max_length:
            raise RecipeError(
                f"train.phases.{number}.max_length: {phase.max_length} is more than max_length, {max_length}; "
                "phases are a beginning with shorter rows"
            )
        if (phase.tokens_per_step or 0) > config.tokens_per_step:
            raise RecipeError(
                f"train.phases.{number}.tokens_per_step: {phase.tokens_per_step} is more than train.tokens_per_step, "
                f"{config.tokens_per_step}; phases are a beginning with smaller steps"
            )
