"""Labelled spans of a text: names of persons and places, chunks, slots. Read as BIO tags of its words."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification

from lathe.core.data import TAGGED, TOKENS_OR_TEXT
from lathe.core.keyed import Seeds
from lathe.core.metrics import entity_f1, entity_precision, entity_recall
from lathe.core.predictions import Span, Spans
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.tasks.bio import Floats, encode_windows, read_tags, tag_labels, tags_of, word_scores
from lathe.tasks.encoding import tokenize
from lathe.tasks.labels import Labels
from lathe.tasks.texts import padded


@recipe
class Tag:
    """Cross-entropy over the BIO tags, -sum log P(tag | text), one for each word: its first piece carries the tag.

    The words are the tokens of the row where it came as tokens, otherwise the tokenizer's own (in Chinese: characters).
    A gold span that begins or ends inside a word is widened for training, counted, and scored as it was given. The
    answer is the most likely sequence of tags in which I-x follows B-x or I-x alone. A text that is longer than a
    window is learnt and answered in several: each word in the one where it has most context.
    """

    auto_model: ClassVar = AutoModelForTokenClassification
    labelled: ClassVar = TAGGED
    unlabelled: ClassVar = TOKENS_OR_TEXT
    metrics: ClassVar[Mapping[str, Metric]] = {
        "entity_f1": entity_f1,
        "entity_precision": entity_precision,
        "entity_recall": entity_recall,
    }
    least_labels: ClassVar = 1

    kind: Literal["tag"] = "tag"
    labels: Labels | None = None
    """Names of the span labels; the sorted names in the training data if not given."""
    max_length: int | None = Field(None, ge=3)
    """Tokens of a window; longer texts are read in several. As the model allows (at most 512) if not given."""
    stride: int = Field(64, ge=0)
    """Tokens that neighbouring windows of a text share; at most half a window."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head: O, then B- and I- of each label."""
        return tags_of(self.labels or ())

    def labels_in(self, row: Row) -> list[str]:
        return [span.label for span in row.get("spans", ())]

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> tuple[Span, ...]:
        return tuple(row["spans"])

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        tokens = tokenize([row["text"] for row in rows], tokenizer, None)
        return [
            encode_windows(row, found, self.outputs, self.max_length, self.stride)
            for row, found in zip(rows, tokens, strict=True)
        ]

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs = padded(rows, symbols)
        if any(row["tags"] is None for row in rows):
            return Batch(inputs, {}, {self.kind: 0})
        labels = tag_labels(rows, inputs["input_ids"].shape[1])
        return Batch(inputs, {"labels": labels}, {self.kind: int((labels != IGNORE).sum())})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = upcast(model(**batch.inputs).logits).flatten(0, 1)  # [B * T, C]
        labels = batch.targets["labels"].flatten()
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return [Part(self.kind, total, batch.items[self.kind])]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Spans | Floats]:
        """The answer to each row; for a window the scores of its words, [W, C]."""
        scores = [word_scores(logits, row["pieces"]) for logits, row in zip(outputs["logits"], rows, strict=True)]
        return [
            found if "words" not in row else read_tags(found, row, self.outputs)
            for found, row in zip(scores, rows, strict=True)
        ]

    def merge(self, answers: Sequence[Floats], row: Encoded) -> Spans:
        return read_tags(np.concatenate(answers), row, self.outputs)
