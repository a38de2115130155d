"""An assistant that answers in a conversation: dialogue and instruction tuning."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from lathe.core.data import CONVERSED, PROMPT, Message
from lathe.core.errors import DataError, RecipeError
from lathe.core.keyed import Seeds
from lathe.core.predictions import Text
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols
from lathe.generation.options import Generation
from lathe.objectives.vocabulary import labelled, vocabulary_loss
from lathe.tasks.conversations import Messages, Turns, conversation, end_of_turn, prepare
from lathe.tasks.texts import padded
from lathe.tasks.written import metrics_from, texts_of


@recipe
class Chat:
    """-sum log P(token | all before it) over what the assistant says, the token that ends each of its turns included.

    A conversation that is too long is learnt in halves, and halves of them, each of whole exchanges and begun with the
    system message; it is answered by as many of its last exchanges as fit.
    """

    auto_model: ClassVar = AutoModelForCausalLM
    labelled: ClassVar = CONVERSED
    unlabelled: ClassVar = PROMPT
    least_labels: ClassVar = 0
    labels: ClassVar[None] = None
    outputs: ClassVar[tuple[str, ...]] = ()

    kind: Literal["chat"] = "chat"
    metric: Literal["chrf", "bleu", "rouge_l"] = "chrf"
    """What selects the best model: how like the last turn of the assistant its answer is."""
    max_length: int | None = Field(None, ge=8)
    """Longest conversation in tokens, the answer included. As the model allows (at most 512) if not given."""
    generation: Generation = Generation()
    """How answers are written."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return metrics_from(self.metric, ("chrf", "rouge_l"))

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def group(self, row: Row) -> str:
        """How the user begins."""
        return str(next(message.content for message in row["messages"] if message.role == "user"))

    def gold(self, row: Row) -> tuple[str, ...]:
        return (row["messages"][-1].content,)

    def prepare_tokenizer(self, tokenizer: Any) -> None:
        prepare(tokenizer)

    def ends(self, tokenizer: Any) -> tuple[int, ...]:
        return (end_of_turn(tokenizer),)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        encoded = [self._row(tuple(row["messages"]), tokenizer) for row in rows]
        if any("lessons" in row for row in encoded) and not any(row.get("lessons") for row in encoded):
            raise DataError(f"task.max_length: no turn of the assistant begins within {self.max_length} tokens")
        return encoded

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs = padded(rows, symbols)
        if not all("learnt" in row for row in rows):
            return Batch(inputs, {}, {self.kind: 0})
        input_ids = inputs["input_ids"].numpy()  # [B, T]
        labels = np.full_like(input_ids, IGNORE)
        for number, row in enumerate(rows):
            place = np.flatnonzero(row["learnt"])
            labels[number, place - 1] = input_ids[number, place]  # shifted here, once, and nowhere else
        targets = {"labels": torch.from_numpy(labels)}
        return Batch(inputs, targets, {self.kind: labelled(targets["labels"])})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [vocabulary_loss(model, batch, self.kind)]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Text]:
        return texts_of(outputs, tokenizer, self.generation)

    def merge(self, answers: Sequence[Text], row: Encoded) -> Text:
        """No row has windows."""
        return answers[0]

    def _row(self, messages: Messages, tokenizer: Any) -> Encoded:
        if messages[-1].role != "assistant":
            return self._prompt(messages, tokenizer)
        prompt = self._prompt(messages[:-1], tokenizer)
        parts = [(self._cut(turns), turns) for turns in self._parts(messages, tokenizer)]
        lost = sum(len(turns.input_ids) - len(part.input_ids) for part, turns in parts)
        lessons = [{"input_ids": part.input_ids, "learnt": part.learnt} for part, _ in parts if any(part.learnt)]
        return {**prompt, "truncated": prompt["truncated"] + lost, "lessons": lessons}

    def _parts(self, messages: Messages, tokenizer: Any) -> list[Turns]:
        """The conversation, or its halves if it is too long, each of whole exchanges."""
        turns, starts = conversation(messages, tokenizer), _exchanges(messages)
        if self.max_length is None or len(turns.input_ids) <= self.max_length or len(starts) < 2:
            return [turns]
        half = starts[len(starts) // 2]
        return self._parts(messages[:half], tokenizer) + self._parts(_opened(messages, half), tokenizer)

    def _cut(self, turns: Turns) -> Turns:
        return Turns(turns.input_ids[: self.max_length], turns.learnt[: self.max_length])

    def _prompt(self, messages: Messages, tokenizer: Any) -> dict[str, Any]:
        """The last exchanges that leave room for an answer."""
        ids = whole = conversation(messages, tokenizer, is_open=True).input_ids
        room = len(ids) if self.max_length is None else self.max_length - self.generation.max_new_tokens
        if room < 1:
            raise RecipeError(
                f"task.generation.max_new_tokens: {self.generation.max_new_tokens} of {self.max_length} tokens leave "
                "no room for what is answered; lower it, or raise task.max_length"
            )
        for start in _exchanges(messages)[1:]:
            if len(ids) <= room:
                break
            ids = conversation(_opened(messages, start), tokenizer, is_open=True).input_ids
        ids = ids[-room:]
        return {"input_ids": ids, "truncated": len(whole) - len(ids)}


def _exchanges(messages: Messages) -> list[int]:
    """Where the user begins to speak."""
    return [place for place, message in enumerate(messages) if message.role == "user"]


def _opened(messages: Messages, start: int) -> list[Message]:
    """The conversation from a turn on, behind its system message."""
    return [message for message in messages[:1] if message.role == "system"] + list(messages[start:])
