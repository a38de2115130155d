"""One label for each text: topic, sentiment, intent."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from lathe.core.batches import pad_rows
from lathe.core.data import LABELLED, TEXT
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds
from lathe.core.metrics import accuracy, macro_f1
from lathe.core.predictions import Label
from lathe.core.recipe import recipe
from lathe.core.types import Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.tasks.encoding import tokenize
from lathe.tasks.labels import Labels


@recipe
class Classify:
    """Cross-entropy over the labels, -sum log P(label | text), with Hugging Face's sequence-classification head."""

    auto_model: ClassVar = AutoModelForSequenceClassification
    labelled: ClassVar = LABELLED
    unlabelled: ClassVar = TEXT
    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": accuracy, "macro_f1": macro_f1}
    least_labels: ClassVar = 2

    kind: Literal["classify"] = "classify"
    labels: Labels | None = None
    """Names of the labels, in the order of the head's outputs; the sorted names in the training data if not given."""
    max_length: int | None = Field(None, ge=3)
    """Longest text in tokens; what is cut off is counted and said. As the model allows (at most 512) if not given."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head."""
        return self.labels or ()

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return (row["label"],) if "label" in row else ()

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> str:
        return str(row["label"])

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        tokens = tokenize([row["text"] for row in rows], tokenizer, self.max_length)
        return [
            {"input_ids": t.input_ids, "truncated": t.truncated, "label": self._index(row) if "label" in row else None}
            for t, row in zip(tokens, rows, strict=True)
        ]

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        known = [row["label"] for row in rows if row["label"] is not None]
        targets = {"labels": torch.tensor(known)} if len(known) == len(rows) else {}
        return Batch(inputs, targets, {self.kind: len(known)})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = upcast(model(**batch.inputs).logits)  # [B, C]
        return [
            Part(self.kind, F.cross_entropy(logits, batch.targets["labels"], reduction="sum"), batch.items[self.kind])
        ]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Label]:
        scores = outputs["logits"].float().softmax(-1)  # [B, C]
        best = scores.argmax(-1).tolist()
        return [
            Label(self.outputs[index], dict(zip(self.outputs, row, strict=True)))
            for index, row in zip(best, scores.tolist(), strict=True)
        ]

    def _index(self, row: Row) -> int:
        if row["label"] not in self.outputs:
            raise DataError(f"label {row['label']!r} is not one of {', '.join(self.outputs)}")
        return self.outputs.index(row["label"])
