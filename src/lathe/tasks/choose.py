"""The right one of several choices: endings of a text, answers to a question; each row has as many as it likes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForMultipleChoice

from lathe.core.data import CHOICES, CHOOSABLE, Shape
from lathe.core.keyed import Seeds
from lathe.core.metrics import accuracy
from lathe.core.predictions import Choice
from lathe.core.recipe import recipe
from lathe.core.tagging import join_tokens
from lathe.core.types import Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.tasks.texts import padded
from lathe.tasks.windows import read_texts


@recipe
class Choose:
    """Cross-entropy over the choices of a row, -sum log P(choice | text), with Hugging Face's multiple-choice head.

    Every choice runs as a pair of its own, the text beside question and choice: rows of a batch may have different
    numbers of them, and no empty choice is ever in the softmax.
    """

    auto_model: ClassVar = AutoModelForMultipleChoice
    labelled: ClassVar[tuple[Shape, ...]] = CHOICES
    unlabelled: ClassVar[tuple[Shape, ...]] = CHOOSABLE
    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": accuracy}
    least_labels: ClassVar = 0
    labels: ClassVar = None
    outputs: ClassVar = ()

    kind: Literal["choose"] = "choose"
    max_length: int | None = Field(None, ge=3)
    """Longest pair in tokens; what is cut off is counted and said. As the model allows (at most 512) if not given."""

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> int:
        return int(row["label"])

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        pairs = [(row["text"], _asked(row, choice)) for row in rows for choice in row["choices"]]
        read = iter(read_texts(pairs, tokenizer, self.max_length))
        encoded: list[Encoded] = []
        for row in rows:
            pieces, cut = zip(*(next(read) for _ in row["choices"]), strict=True)
            choices = [piece for (piece,) in pieces]
            length = sum(len(piece["input_ids"]) for piece in choices)
            encoded.append({"choices": choices, "length": length, "truncated": sum(cut), "label": row.get("label")})
        return encoded

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        """Inputs [M, 1, T]: of all rows, each choice as a row with one choice."""
        inputs = padded([choice for row in rows for choice in row["choices"]], symbols)
        known = [row["label"] for row in rows if row["label"] is not None]
        counts = torch.tensor([len(row["choices"]) for row in rows])
        targets = {"labels": torch.tensor(known), "counts": counts} if len(known) == len(rows) else {}
        return Batch({name: tensor[:, None] for name, tensor in inputs.items()}, targets, {self.kind: len(known)})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = upcast(model(**batch.inputs).logits).squeeze(-1)  # [M]
        of_rows = logits.split(batch.targets["counts"].tolist())
        scores = pad_sequence(list(of_rows), batch_first=True, padding_value=float("-inf"))  # [B, most choices]
        total = nn.functional.cross_entropy(scores, batch.targets["labels"], reduction="sum")
        return [Part(self.kind, total, batch.items[self.kind])]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Choice]:
        logits = outputs["logits"].float().squeeze(-1)  # [M]
        scores = [one.softmax(-1) for one in logits.split([len(row["choices"]) for row in rows])]
        return [Choice(int(one.argmax()), tuple(one.tolist())) for one in scores]


def _asked(row: Row, choice: str) -> str:
    """The question, where there is one, and one of its answers."""
    return join_tokens([row["question"], choice])[0] if "question" in row else choice
