"""What a language model scores on held-out text: that of its run, and old text that it should not forget."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from lathe.core.batches import Rows, cut
from lathe.core.coupled import whole_step
from lathe.core.documents import utf8_size
from lathe.core.keyed import permutation, row_seeds
from lathe.core.runtime import autocast, dtype_of
from lathe.core.tokens import TokenFile
from lathe.core.types import Batch, Symbols
from lathe.objectives import AnyObjective
from lathe.pretrain.course import PretrainTrain

T = TypeVar("T")

ROWS_ON_THE_WAY, ROWS_AT_THE_END = 500, 4000
"""Held-out rows that the loss is measured on: few while the run lasts, most before it and at its end."""


class HeldOut(NamedTuple):
    """A text that is measured on."""

    name: str  # of its loss in scores and log, before "_loss"
    tokens: TokenFile
    tokenizer: Any

    def rows(self, most: int) -> Rows:
        """At most so many of its rows, the same every time."""
        rows: Rows = np.sort(permutation(len(self.tokens), "mean_loss")[:most])
        return rows

    def bytes_of(self, rows: Rows) -> int:
        """Of the text of some rows, as UTF-8."""
        texts = self.tokenizer.batch_decode([self.tokens[int(i)]["input_ids"] for i in rows], skip_special_tokens=True)
        return max(1, sum(map(utf8_size, texts)))


VALIDATION, OLD = "validation", "old"


def mean_losses(
    model: PreTrainedModel,
    objective: AnyObjective,
    held_out: Sequence[HeldOut],
    symbols: Symbols,
    config: PretrainTrain,
    most: int,
) -> dict[str, float]:
    """``NAME_loss`` of each text: the mean in nats per item over (at most ``most``) rows.

    Of an objective of several parts it is their weighted sum, and the mean of each is ``NAME_PART_loss``. Of one that
    gives the probability of a text there is also ``NAME_bits_per_byte``.
    """
    model.eval()
    found = {}
    for one in held_out:
        rows = one.rows(most)
        parts = _parts(model, objective, one.tokens, rows, symbols, config)
        found[f"{one.name}_loss"] = sum(part.weight * part.mean for part in parts.values())
        if len(parts) > 1:
            found |= {f"{one.name}_{name}_loss": part.mean for name, part in parts.items()}
        if objective.kind == "causal":
            found[f"{one.name}_bits_per_byte"] = parts["causal"].total / math.log(2) / one.bytes_of(rows)
    return found


class Measured(NamedTuple):
    """One part of a loss over some rows."""

    total: float  # nats
    items: int
    weight: float

    @property
    def mean(self) -> float:
        return self.total / max(self.items, 1)


def _parts(
    model: PreTrainedModel,
    objective: AnyObjective,
    tokens: TokenFile,
    chosen: Rows,
    symbols: Symbols,
    config: PretrainTrain,
) -> dict[str, Measured]:
    """With the same masks every time. It takes no larger batches than training."""
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    found: dict[str, Measured] = {}

    def collate(rows: Rows) -> Batch:
        return objective.collate([tokens[int(i)] for i in rows], row_seeds(0, 0, tokens.keys[rows]), symbols)

    def run(compute: Callable[[Any, Batch], T], _: int, batch: Batch) -> T:
        with torch.no_grad(), autocast(place, dtype):
            return compute(model, batch.to(place))

    for step in cut(tokens.lengths[chosen], config.tokens_per_step):
        rows = chosen[step]
        micro = [collate(rows[part]) for part in cut(tokens.lengths[rows], config.tokens_per_batch)]
        for number, batch in enumerate(whole_step(objective, micro, run)):
            for name, total, items, weight in run(objective.loss, number, batch):
                before = found.get(name, Measured(0.0, 0, weight))
                found[name] = Measured(before.total + float(total), before.items + items, weight)
    return found


def scores_of(
    held_out: Sequence[HeldOut], before: Mapping[str, float], memory: Mapping[str, float]
) -> dict[str, float]:
    """Losses at the end and, of a continued model, before; what it has forgotten; and what word frequencies reach."""
    scores = dict(memory) | {f"{name}_before": value for name, value in before.items()}
    for old in (one.tokens for one in held_out if one.name == OLD):
        scores["old_unigram_entropy"] = old.unigram_entropy()
    if "old_loss_before" in scores:
        scores["forgetting"] = scores["old_loss"] - scores["old_loss_before"]
    return scores


def told(losses: Mapping[str, float]) -> Iterator[str]:
    """
    >>> list(told({"validation_loss": 2.5, "validation_bits_per_byte": 1.25}))
    ['validation loss 2.5000 nats', 'validation bits per byte 1.2500']
    """
    for name, value in losses.items():
        yield f"{name.replace('_', ' ')} {value:.4f}{' nats' if name.endswith('_loss') else ''}"


def token_loss(scores: Mapping[str, float]) -> float | None:
    """The held-out loss that the unigram entropy compares with: that of the tokens, where more is learnt beside them.

    >>> token_loss({"validation_loss": 3.0, "validation_masked_loss": 2.5, "unigram_entropy": 4.0})
    2.5
    """
    comparable = scores if "unigram_entropy" in scores else {}
    return comparable.get("validation_masked_loss", comparable.get("validation_loss"))


def verdicts(scores: Mapping[str, float]) -> Iterator[str]:
    """What the losses say, each beside its baseline."""
    if (loss := token_loss(scores)) is not None:
        entropy = scores["unigram_entropy"]
        gain = entropy - loss
        yield f"unigram entropy {entropy:.3f} nats a token (the baseline); the model is {gain:.3f} below"
    if "validation_loss_before" in scores:
        before, after = scores["validation_loss_before"], scores["validation_loss"]
        yield f"new text: {before:.3f} nats before, {after:.3f} now"
    if "forgetting" in scores:
        before, after, entropy = (scores[name] for name in ("old_loss_before", "old_loss", "old_unigram_entropy"))
        change = scores["forgetting"]
        yield (
            f"old text: {before:.3f} nats before, {after:.3f} now: {abs(change):.3f} "
            f"{'forgotten' if change > 0 else 'gained'} (unigram entropy {entropy:.3f})"
        )
