"""Labelled spans of a text: names of persons and places, chunks, slots. Read as BIO tags of its words."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification

from lathe.core.batches import pad_rows
from lathe.core.data import TAGGED, TOKENS_OR_TEXT
from lathe.core.keyed import Seeds
from lathe.core.metrics import entity_f1, entity_precision, entity_recall
from lathe.core.predictions import Span, Spans
from lathe.core.recipe import recipe
from lathe.core.tagging import Offsets, spans_of_tags, tags_of_spans
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.tasks.encoding import Tokens, tokenize
from lathe.tasks.labels import Labels


@recipe
class Tag:
    """Cross-entropy over the BIO tags, -sum log P(tag | text), one for each word: its first piece carries the tag.

    The words are the tokens of the row where it came as tokens, otherwise the tokenizer's own (in Chinese: characters).
    A gold span that begins or ends inside a word is widened for training, counted, and scored as it was given.
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
    """Longest text in tokens; what is cut off is counted and said. As the model allows (at most 512) if not given."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head: O, then B- and I- of each label."""
        return ("O", *(f"{prefix}-{label}" for label in self.labels or () for prefix in "BI"))

    def labels_in(self, row: Row) -> list[str]:
        return [span.label for span in row.get("spans", ())]

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> tuple[Span, ...]:
        return tuple(row["spans"])

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        tokens = tokenize([row["text"] for row in rows], tokenizer, self.max_length)
        return [self._encoded(row, t) for row, t in zip(rows, tokens, strict=True)]

    def _encoded(self, row: Row, tokens: Tokens) -> Encoded:
        words = tuple(row["offsets"]) if "offsets" in row else _own_words(tokens)
        tags = tags_of_spans(row["spans"], words) if "spans" in row else None
        return {
            "input_ids": tokens.input_ids,
            "truncated": tokens.truncated,
            "words": words,
            "pieces": _first_pieces(words, tokens),  # of each word; -1 where it has none (cut off, or only spaces)
            "tags": None if tags is None else [self.outputs.index(tag) for tag in tags],
            "widened": 0 if tags is None else len(set(row["spans"]) - set(spans_of_tags(tags, words))),
            "as_tokens": "offsets" in row,
        }

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        if any(row["tags"] is None for row in rows):
            return Batch(inputs, {}, {self.kind: 0})
        labels = torch.full(inputs["input_ids"].shape, IGNORE)  # [B, T]
        for number, row in enumerate(rows):
            for piece, tag in zip(row["pieces"], row["tags"], strict=True):
                if piece >= 0:
                    labels[number, piece] = tag
        return Batch(inputs, {"labels": labels}, {self.kind: int((labels != IGNORE).sum())})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = upcast(model(**batch.inputs).logits).flatten(0, 1)  # [B * T, C]
        labels = batch.targets["labels"].flatten()
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return [Part(self.kind, total, batch.items[self.kind])]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Spans]:
        best, chosen = outputs["logits"].float().softmax(-1).max(-1)  # [B, T]
        answers = []
        for row, scores, tags in zip(rows, best.tolist(), chosen.tolist(), strict=True):
            named = tuple(self.outputs[tags[piece]] if piece >= 0 else "O" for piece in row["pieces"])
            certain = [scores[piece] if piece >= 0 else 1.0 for piece in row["pieces"]]
            spans = tuple(_scored(span, row["words"], certain) for span in spans_of_tags(named, row["words"]))
            answers.append(Spans(spans, tags_of_spans(spans, row["words"]) if row["as_tokens"] else None))
        return answers


def _own_words(tokens: Tokens) -> Offsets:
    """Where the words stand that the tokenizer itself split the text into."""
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(tokens.words, tokens.offsets, strict=True):
        if word is not None and end > start:
            spans[word] = (spans.get(word, (start, end))[0], end)
    return tuple(sorted(spans.values()))


def _first_pieces(words: Offsets, tokens: Tokens) -> list[int]:
    """Position of the first piece that overlaps each word, or -1."""
    pieces = [(i, s, e) for i, (s, e) in enumerate(tokens.offsets) if e > s]
    found, at = [], 0
    for start, end in words:
        while at < len(pieces) and pieces[at][2] <= start:
            at += 1
        found.append(pieces[at][0] if at < len(pieces) and pieces[at][1] < end else -1)
    return found


def _scored(span: Span, words: Offsets, certain: Sequence[float]) -> Span:
    """The span with the probability of its least certain word."""
    inside = [
        score for (start, end), score in zip(words, certain, strict=True) if start < span.end and span.start < end
    ]
    return Span(span.start, span.end, span.label, min(inside))
