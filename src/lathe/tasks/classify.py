"""One label for each text, or pair of texts: topic, sentiment, intent; entailment, paraphrase."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal, Self

from torch import Tensor

from lathe.core.data import LABELLED, PAIR, PAIRED, TEXT, Shape, Table
from lathe.core.errors import DataError
from lathe.core.metrics import accuracy, macro_f1
from lathe.core.predictions import Label
from lathe.core.recipe import recipe
from lathe.core.types import Metric, Row
from lathe.tasks.labels import Labels
from lathe.tasks.losses import LabelLoss
from lathe.tasks.texts import Texts


@recipe
class Classify(LabelLoss, Texts):
    """Cross-entropy over the labels, -sum log P(label | text), with Hugging Face's sequence-classification head."""

    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": accuracy, "macro_f1": macro_f1}
    least_labels: ClassVar = 2
    problem_type: ClassVar = "single_label_classification"

    kind: Literal["classify"] = "classify"
    labels: Labels | None = None
    """Names of the labels, in the order of the head's outputs; the sorted names in the training data if not given."""

    @property
    def labelled(self) -> tuple[Shape, ...]:
        return {True: PAIRED, False: LABELLED, None: (*PAIRED, *LABELLED)}[self.pair]

    @property
    def unlabelled(self) -> tuple[Shape, ...]:
        return {True: PAIR, False: TEXT, None: (*PAIR, *TEXT)}[self.pair]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head."""
        return self.labels or ()

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return (row["label"],) if "label" in row else ()

    def gold(self, row: Row) -> str:
        return str(row["label"])

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """The task, knowing pairs and the weight of each label: of balanced ones rows / (labels * rows with it)."""
        rows, task = tables["train"].rows, super().fitted(tables)
        counts = Counter(row["label"] for row in rows)
        balanced = {label: len(rows) / (len(self.outputs) * max(counts[label], 1)) for label in self.outputs}
        return replace(task, class_weights=self.weights_of(self.outputs, balanced))

    def target(self, row: Row) -> int | None:
        """Its label's place among the outputs; none where the row has no label."""
        if "label" not in row:
            return None
        if row["label"] not in self.outputs:
            raise DataError(f"label {row['label']!r} is not one of {', '.join(self.outputs)}")
        return self.outputs.index(row["label"])

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.one_of_several(logits, labels, self.outputs)

    def answers(self, logits: Tensor) -> list[Label]:
        scores = logits.softmax(-1)  # [B, C]
        return [
            Label(self.outputs[index], dict(zip(self.outputs, row, strict=True)))
            for index, row in zip(scores.argmax(-1).tolist(), scores.tolist(), strict=True)
        ]
