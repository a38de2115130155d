"""What an utterance wants, and the values that it gives: one intent for a text, and slots in it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification

from lathe.core.data import INTENT_SLOTS, TOKENS_OR_TEXT
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds
from lathe.core.metrics import frame_accuracy, intent_accuracy, slot_f1
from lathe.core.predictions import Frame, Label, Span
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.tasks.bio import encode_words, read_tags, tag_labels, tags_of, word_scores
from lathe.tasks.encoding import Tokens, tokenize
from lathe.tasks.labels import Labels
from lathe.tasks.texts import padded

SLOT = "slot:"
"""How the name of a slot begins among the labels, so that it is no intent's."""


@recipe
class Intent:
    """Cross-entropy of the intent and of the BIO tags of the words, -log P(intent | text) - sum log P(tag | text).

    One token-classification head of Hugging Face's has the outputs of both: a tag is read at the first piece of its
    word, the intent from the mean over all tokens, which for a linear head is a head on the mean of their states.
    """

    auto_model: ClassVar = AutoModelForTokenClassification
    labelled: ClassVar = INTENT_SLOTS
    unlabelled: ClassVar = TOKENS_OR_TEXT
    metrics: ClassVar[Mapping[str, Metric]] = {
        "frame_accuracy": frame_accuracy,
        "intent_accuracy": intent_accuracy,
        "slot_f1": slot_f1,
    }
    least_labels: ClassVar = 2

    kind: Literal["intent"] = "intent"
    labels: Labels | None = None
    """Names of the intents, and of the slots with `slot:` before them; those in the training data if not given."""
    max_length: int | None = Field(None, ge=3)
    """Longest text in tokens; what is cut off is counted and said. As the model allows (at most 512) if not given."""

    @property
    def intents(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels or () if not label.startswith(SLOT))

    @property
    def tags(self) -> tuple[str, ...]:
        return tags_of([label.removeprefix(SLOT) for label in self.labels or () if label.startswith(SLOT)])

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head: the intents, then O, then B- and I- of each slot."""
        return (*self.intents, *self.tags)

    def labels_in(self, row: Row) -> Iterator[str]:
        if "label" in row:
            yield row["label"]
        yield from (SLOT + span.label for span in row.get("spans", ()))

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> tuple[str, tuple[Span, ...]]:
        return str(row["label"]), tuple(row["spans"])

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        tokens = tokenize([row["text"] for row in rows], tokenizer, self.max_length)
        return [self._encoded(row, t) for row, t in zip(rows, tokens, strict=True)]

    def _encoded(self, row: Row, tokens: Tokens) -> Encoded:
        if "label" in row and row["label"] not in self.intents:
            raise DataError(f"intent {row['label']!r} is not one of {', '.join(self.intents)}")
        intent = self.intents.index(row["label"]) if "label" in row else IGNORE
        ids = {"input_ids": tokens.input_ids, "truncated": tokens.truncated, "intent": intent}
        return ids | encode_words(row, tokens, self.tags)

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs = padded(rows, symbols)
        if any(row["tags"] is None for row in rows):
            return Batch(inputs, {}, {"slots": 0, "intent": 0})
        tags, intents = tag_labels(rows, inputs["input_ids"].shape[1]), torch.tensor([row["intent"] for row in rows])
        items = {"slots": int((tags != IGNORE).sum()), "intent": int((intents != IGNORE).sum())}
        return Batch(inputs, {"labels": tags, "intents": intents}, items)

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits = upcast(model(**batch.inputs).logits)  # [B, T, C]
        intents, tags = self._heads(logits, batch.inputs["attention_mask"])
        slots = F.cross_entropy(
            tags.flatten(0, 1), batch.targets["labels"].flatten(), ignore_index=IGNORE, reduction="sum"
        )
        intent = F.cross_entropy(intents, batch.targets["intents"], ignore_index=IGNORE, reduction="sum")
        return [Part("slots", slots, batch.items["slots"]), Part("intent", intent, batch.items["intent"])]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Frame]:
        logits = outputs["logits"].float()  # [B, T, C]
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        intents, tags = self._heads(logits, torch.arange(logits.shape[1]) < lengths[:, None])
        answers = []
        for row, scores, words in zip(rows, intents.softmax(-1).tolist(), tags, strict=True):
            best = max(range(len(scores)), key=scores.__getitem__)
            label = Label(self.intents[best], dict(zip(self.intents, scores, strict=True)))
            answers.append(Frame(label, read_tags(word_scores(words, row["pieces"]), row, self.tags)))
        return answers

    def _heads(self, logits: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the intents, over all tokens of a row, and of the tags.  [B, intents], [B, T, tags]"""
        intents, tags = logits.split([len(self.intents), len(self.tags)], -1)
        seen = attention_mask.to(intents.dtype)[..., None]  # [B, T, 1]
        return (intents * seen).sum(1) / seen.sum(1), tags
