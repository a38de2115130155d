"""What tasks share that answer a text, or a pair of texts, by one row of outputs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from lathe.core.batches import pad_rows
from lathe.core.data import Table
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds
from lathe.core.predictions import Prediction
from lathe.core.recipe import recipe
from lathe.core.types import Batch, Encoded, Part, Row, Symbols, upcast
from lathe.tasks.windows import read_texts


@recipe
class Texts(ABC):
    """Hugging Face's sequence-classification head over texts or pairs; a member says what its outputs mean."""

    auto_model: ClassVar = AutoModelForSequenceClassification

    kind: str
    max_length: int | None = Field(None, ge=3)
    """Longest text in tokens; what is cut off is counted and said. As the model allows (at most 512) if not given."""
    stride: int | None = Field(None, ge=0)
    """Read longer texts in windows that overlap by so many tokens, in training and prediction; cut off if not given."""
    pair: bool | None = None
    """Whether a row has two texts, text and text_pair; as the training rows do if not given."""

    @abstractmethod
    def target(self, row: Row) -> Any:
        """What the outputs are to be, as numbers; None where the row does not say."""

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of each item by itself: logits [B, C], labels [B] or [B, C] -> [B] or [B, C]."""

    @abstractmethod
    def answers(self, logits: Tensor) -> Sequence[Prediction]:
        """[B, C] -> B"""

    def group(self, row: Row) -> str:
        return str(row["text"])

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """The task, knowing whether its rows are pairs. Raises ``DataError`` at the first row that does not agree."""
        pair = "text_pair" in tables["train"].rows[0] if self.pair is None else self.pair
        for table in tables.values():
            for line, row in zip(table.lines, table.rows, strict=True):
                if ("text_pair" in row) != pair:
                    found = "one text, the others are pairs" if pair else "a pair, the others are one text"
                    way = "name the columns (data.columns.text, data.columns.text_pair), or mend the row"
                    raise DataError(f"{table.path}:{line}: {found}; {way}")
        return replace(self, pair=pair)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        """One piece a row, or its ``windows``: each is trained on by itself, with the row's target."""
        texts = [(row["text"], row["text_pair"]) if "text_pair" in row else (row["text"],) for row in rows]
        encoded: list[Encoded] = []
        for row, (pieces, truncated) in zip(
            rows, read_texts(texts, tokenizer, self.max_length, self.stride), strict=True
        ):
            label = self.target(row)
            if len(pieces) == 1:
                encoded.append({**pieces[0], "truncated": truncated, "label": label})
            else:
                windows = [{**piece, "window": number, "label": label} for number, piece in enumerate(pieces)]
                encoded.append({"windows": windows, "truncated": truncated})
        return encoded

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        known = [row["label"] for row in rows if row["label"] is not None]
        labels = torch.tensor(known)  # [B], or [B, C]
        targets = {"labels": labels} if len(known) == len(rows) else {}
        return Batch(padded(rows, symbols), targets, {self.kind: labels.numel()})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = upcast(model(**batch.inputs).logits)  # [B, C]
        losses = self.losses(logits, batch.targets["labels"])
        return [Part(self.kind, losses.sum(), batch.items[self.kind])]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Any]:
        """Answers; of a window its logits, [C]."""
        logits = outputs["logits"].float()  # [B, C]
        answers = self.answers(logits)
        return [logits[i] if "window" in row else answers[i] for i, row in enumerate(rows)]

    def merge(self, answers: Sequence[Tensor], row: Encoded) -> Prediction:
        """The answer to the mean of the windows' logits."""
        return self.answers(torch.stack(list(answers)).mean(0, keepdim=True))[0]


def padded(rows: Sequence[Encoded], symbols: Symbols) -> dict[str, Tensor]:
    """What a model is called with: ids and mask, and token types where a row has some, else 0.  [B, T]"""
    input_ids, attention_mask = pad_rows(rows, symbols)
    arrays = {"input_ids": input_ids, "attention_mask": attention_mask}
    if any("token_type_ids" in row for row in rows):
        types = np.zeros_like(input_ids)
        types[attention_mask == 1] = np.concatenate(
            [row.get("token_type_ids", np.zeros_like(row["input_ids"])) for row in rows]
        )
        arrays["token_type_ids"] = types
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
