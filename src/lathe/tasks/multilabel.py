"""Any number of labels for each text: topics, emotions, kinds of what is in it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor

from lathe.core.data import MULTI_LABELLED, TEXT, Shape, Table
from lathe.core.errors import DataError
from lathe.core.metrics import accuracy, macro_f1, micro_f1
from lathe.core.predictions import Labels as LabelsOf
from lathe.core.recipe import recipe
from lathe.core.types import Metric, Row
from lathe.tasks.labels import Labels
from lathe.tasks.losses import LabelLoss
from lathe.tasks.texts import Texts


@recipe
class MultiLabel(LabelLoss, Texts):
    """Binary cross-entropy, -sum log P(label is there or not | text), of each label by itself: an item each."""

    labelled: ClassVar[tuple[Shape, ...]] = MULTI_LABELLED
    unlabelled: ClassVar[tuple[Shape, ...]] = TEXT
    metrics: ClassVar[Mapping[str, Metric]] = {"micro_f1": micro_f1, "macro_f1": macro_f1, "accuracy": accuracy}
    least_labels: ClassVar = 1
    problem_type: ClassVar = "multi_label_classification"

    kind: Literal["multilabel"] = "multilabel"
    labels: Labels | None = None
    """Names of the labels, in the order of the head's outputs; the sorted names in the training data if not given."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """A label is given from this probability on."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head."""
        return self.labels or ()

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return tuple(row.get("labels", ()))

    def gold(self, row: Row) -> tuple[str, ...]:
        return tuple(label for label in self.outputs if label in row["labels"])

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """The task, knowing the weight of each label: of balanced ones rows without it / rows with it."""
        rows, task = tables["train"].rows, super().fitted(tables)
        counts = Counter(label for row in rows for label in row["labels"])
        balanced = {label: max(len(rows) - counts[label], 1) / max(counts[label], 1) for label in self.outputs}
        return replace(task, class_weights=self.weights_of(self.outputs, balanced))

    def target(self, row: Row) -> list[float] | None:
        """1 for each output that the row has; none where nothing is known of it."""
        if "labels" not in row:
            return None
        if unknown := next((label for label in row["labels"] if label not in self.outputs), None):
            raise DataError(f"label {unknown!r} is not one of {', '.join(self.outputs)}")
        return [float(label in row["labels"]) for label in self.outputs]

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.each_of_several(logits, labels, self.outputs)

    def answers(self, logits: Tensor) -> list[LabelsOf]:
        scores = [dict(zip(self.outputs, row, strict=True)) for row in logits.sigmoid().tolist()]  # [B, C]
        return [LabelsOf(tuple(n for n, score in row.items() if score >= self.threshold), row) for row in scores]
