"""A number for each text, or pair of texts: a rating, how alike the two are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field
from torch import Tensor

from lathe.core.data import PAIR, SCORED, TEXT, TEXT_OR_PAIR, Shape, Table
from lathe.core.metrics import pearson, spearman
from lathe.core.predictions import Number
from lathe.core.recipe import recipe
from lathe.core.types import Metric, Row
from lathe.tasks.texts import Texts


@recipe
class Score(Texts):
    """Squared error of the standardised number, sum ((y - mean) / scale - logit)^2; it answers mean + scale * logit."""

    labelled: ClassVar[tuple[Shape, ...]] = SCORED
    metrics: ClassVar[Mapping[str, Metric]] = {"pearson": pearson, "spearman": spearman}
    least_labels: ClassVar = 0
    problem_type: ClassVar = "regression"
    labels: ClassVar = None
    outputs: ClassVar = ("score",)

    kind: Literal["score"] = "score"
    mean: float | None = None
    """What an output of 0 means; the mean of the training scores if not given."""
    scale: float | None = Field(None, gt=0)
    """What a difference of 1 between outputs means; the standard deviation of the training scores if not given."""

    @property
    def unlabelled(self) -> tuple[Shape, ...]:
        return {True: PAIR, False: TEXT, None: TEXT_OR_PAIR}[self.pair]

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def gold(self, row: Row) -> float:
        return float(row["score"])

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """The task, knowing pairs, and mean and spread of the training scores; equal ones spread by 1."""
        scores = np.array([row["score"] for row in tables["train"].rows])
        mean = float(scores.mean()) if self.mean is None else self.mean
        scale = (float(scores.std()) or 1.0) if self.scale is None else self.scale
        return replace(super().fitted(tables), mean=mean, scale=scale)

    def target(self, row: Row) -> float | None:
        return (row["score"] - (self.mean or 0.0)) / (self.scale or 1.0) if "score" in row else None

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.squeeze(-1) - labels) ** 2  # [B]

    def answers(self, logits: Tensor) -> list[Number]:
        return [Number((self.mean or 0.0) + (self.scale or 1.0) * value) for value in logits.squeeze(-1).tolist()]
