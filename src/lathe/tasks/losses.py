"""Losses of labels that are rare, easy or doubtful: one number for each decision, whatever the other rows are.

Every factor belongs to the decision itself, so that sums over rows are exact however a step is cut. (PyTorch divides
by the weights of the batch instead of its rows: there a row counts less beside rare ones.)
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from lathe.core.errors import RecipeError, did_you_mean
from lathe.core.recipe import recipe

Weights: TypeAlias = dict[str, Annotated[float, Field(gt=0)]]


@recipe
class LabelLoss:
    """How much the loss makes of each label; nothing of it is needed to predict."""

    class_weights: Literal["balanced"] | Weights | None = None
    """Factor of each label's loss, 1 where none is given; `balanced` makes as much of rare ones as of frequent ones."""
    focal_gamma: float = Field(0.0, ge=0)
    """Above 0, what is easy already counts less: the loss times (1 - P(label))^gamma (focal loss; 2 is usual)."""
    label_smoothing_factor: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels, against too great a certainty."""

    def weights_of(self, labels: Sequence[str], balanced: Mapping[str, float]) -> Weights | None:
        """The factor of every label. Raises ``RecipeError`` for the name of none."""
        given = self.class_weights
        if given is None or given == "balanced":
            return None if given is None else dict(balanced)
        if unknown := next((name for name in given if name not in labels), None):
            known = f"{', '.join(labels)}{did_you_mean(unknown, labels)}"
            raise RecipeError(f"task.class_weights: {unknown!r} is not one of {known}")
        return {label: given.get(label, 1.0) for label in labels}

    def one_of_several(self, logits: Tensor, labels: Tensor, outputs: Sequence[str]) -> Tensor:
        """w_y (1 - p_y)^gamma CE, p = softmax(logits); logits [B, C], labels [B] -> [B].

        CE is the cross-entropy with the smoothed target, (1 - s) [c = y] + s / C.
        """
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.label_smoothing_factor)
        if self.focal_gamma:
            log_p = -F.cross_entropy(logits, labels, reduction="none")
            losses = losses * self._ease(-torch.expm1(log_p))
        weights = self._weights(outputs, logits)
        return losses if weights is None else losses * weights[labels]

    def each_of_several(self, logits: Tensor, labels: Tensor, outputs: Sequence[str]) -> Tensor:
        """w_c^y (1 - p_y)^gamma BCE, p = sigmoid(logits); logits and labels (0 or 1) [B, C] -> [B, C].

        The weight is that of a label which is there. BCE has the smoothed target (1 - s) y + s / 2.
        """
        labels = labels.to(logits.dtype)
        target = (1 - self.label_smoothing_factor) * labels + self.label_smoothing_factor / 2
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if self.focal_gamma:
            losses = losses * self._ease(torch.sigmoid((1 - 2 * labels) * logits))
        weights = self._weights(outputs, logits)
        return losses if weights is None else losses * torch.where(labels > 0, weights, 1.0)

    def _ease(self, doubt: Tensor) -> Tensor:
        """(1 - p)^gamma; its slope is infinite at 0 where gamma is below 1."""
        return doubt.clamp_min(torch.finfo(doubt.dtype).eps) ** self.focal_gamma

    def _weights(self, outputs: Sequence[str], logits: Tensor) -> Tensor | None:
        """[C]"""
        if self.class_weights is None:
            return None
        weights = self.weights_of(outputs, {}) or {}  # balanced ones are numbers by now
        return logits.new_tensor([weights[name] for name in outputs])
