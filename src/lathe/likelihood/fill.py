"""What a masked language model answers by itself: which pieces may stand where a text holds masks.

It has the form of a task, and is none that one fine-tunes for: pretraining has taught it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel

from lathe.core import packing
from lathe.core.batches import pad_rows
from lathe.core.data import TEXT, RowError, Shape
from lathe.core.data.shapes.columns import Reading
from lathe.core.errors import BundleError
from lathe.core.keyed import Seeds
from lathe.core.predictions import Filling, Fillings
from lathe.core.predictor import TaskPredictor
from lathe.core.rows import Frame, frame_of
from lathe.core.runtime import Precision
from lathe.core.types import Batch, Encoded, Forward, Row, Symbols
from lathe.likelihood.masked import MaskedNetwork
from lathe.runtimes.eager import torch_forward
from lathe.tasks.encoding import check_fast, without_surrogates

TOKENS_AT_ONCE = 2048
"""All of them may be masks, each with the whole vocabulary."""


@dataclass(frozen=True)
class Fill:
    """Of each mask the most likely pieces, given all the rest of the text, in which other masks stay masks."""

    mask: str  # how it is written in a text
    others: tuple[str, ...]  # names of the other special tokens
    max_length: int
    top_k: int = 5
    kind: ClassVar = "fill"
    labels: ClassVar = None
    auto_model: ClassVar = AutoModelForMaskedLM

    @classmethod
    def of(cls, tokenizer: Any, max_length: int) -> "Fill":
        if tokenizer.mask_token_id is None:
            raise BundleError(f"{tokenizer.name_or_path}: the tokenizer has no mask token, and nothing to fill")
        others = [name for name in tokenizer.all_special_tokens if name != tokenizer.mask_token]
        return cls(tokenizer.mask_token, tuple(others), max_length)

    @property
    def unlabelled(self) -> tuple[Shape, ...]:
        return (Shape(TEXT[0].roles, self._read),)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        """A text that is too long is read once for each mask, with as much around it as the model takes."""
        check_fast(tokenizer)
        frame, texts = frame_of(tokenizer), [without_surrogates(row["text"]) for row in rows]
        inner = tokenizer(texts, add_special_tokens=False, split_special_tokens=False)["input_ids"] if texts else []
        return [self._encoded(ids, frame, tokenizer.mask_token_id) for ids in inner]

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, attention_mask = map(torch.from_numpy, pad_rows(rows, symbols))  # [B, T]
        return Batch({"input_ids": input_ids, "attention_mask": attention_mask}, {}, {})

    def forward(self, model: PreTrainedModel, tokenizer: Any, precision: Precision) -> Forward:
        """Logits at the masks alone, in the order of the rows.  [masks, V]"""
        run = torch_forward(model, precision)

        def forward(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            index = (inputs["input_ids"].flatten() == tokenizer.mask_token_id).nonzero().flatten()
            with packing.labelled_rows(model, index.to(next(model.parameters()).device)):
                return run(inputs)

        return forward

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Fillings]:
        probabilities = outputs["logits"].softmax(-1)  # [masks, V]
        told = probabilities[:, : len(tokenizer)].clone()  # a model may have room for more pieces
        told[:, tokenizer.all_special_ids] = 0.0
        values, ids = told.topk(min(self.top_k, told.shape[1]))  # [masks, k]
        fillings = iter(
            tuple(Filling(_text(token, tokenizer), score, token) for token, score in zip(*mask, strict=True))
            for mask in zip(ids.tolist(), values.tolist(), strict=True)
        )
        answers = []
        for row in rows:
            asked: slice = row["asked"]
            answers.append(Fillings(tuple(islice(fillings, row["input_ids"].count(tokenizer.mask_token_id)))[asked]))
        return answers

    def merge(self, answers: Sequence[Fillings], row: Encoded) -> Fillings:
        return Fillings(tuple(one for answer in answers for one in answer.fillings))

    def _encoded(self, ids: list[int], frame: Frame, mask: int) -> Encoded:
        room = self.max_length - len(frame.before) - len(frame.after)
        masks = [place for place, token in enumerate(ids) if token == mask]
        if len(ids) <= room:
            return _piece(ids, frame, slice(0, len(masks)))
        windows = []
        for place in masks:
            start = max(0, min(place - room // 2, len(ids) - room))
            number = sum(start <= other < place for other in masks)
            windows.append(_piece(ids[start : start + room], frame, slice(number, number + 1)))
        return {"windows": windows}

    def _read(self, values: Mapping[str, Any]) -> Reading:
        reading = TEXT[0].read(values)
        text = reading.row["text"]
        if self.mask not in text:
            raise RowError("text", text, f"holds no {self.mask}", f"write {self.mask} where something is to be filled")
        if other := next((name for name in self.others if name in text), None):
            raise RowError("text", text, f"holds {other}, a special token of this model", "leave it out")
        return reading


def _piece(ids: list[int], frame: Frame, asked: slice) -> Encoded:
    """What goes through the model, and which of its masks are asked for."""
    return {"input_ids": [*frame.before, *ids, *frame.after], "asked": asked}


def _text(token: int, tokenizer: Any) -> str:
    """A piece as it stands in a text; a part of a character as the vocabulary has it."""
    text: str = tokenizer.decode([token])
    return str(tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text else text


def filler(network: MaskedNetwork) -> TaskPredictor:
    """A masked network as a predictor."""
    fill = Fill.of(network.tokenizer, network.max_length)
    forward = fill.forward(network.model, network.tokenizer, network.precision)
    return TaskPredictor(fill, network.tokenizer, forward, TOKENS_AT_ONCE)
