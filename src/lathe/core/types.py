"""The nouns that flow between stages. Pure data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from torch import Tensor, device, float64, nn

from lathe.core.predictions import Prediction

IGNORE = -100
"""Label of a position that carries no loss (the Hugging Face convention)."""

SENTINEL = "<extra_id_{}>"
"""Name of the token that stands for a hidden span, the first, the second, ... of a row (T5's convention)."""

Row: TypeAlias = Mapping[str, Any]
"""One example as the user wrote it, for instance ``{"text": "good film", "label": "positive"}``."""

Encoded: TypeAlias = Mapping[str, Any]
"""One example after tokenisation: ``input_ids`` and whatever its objective needs beside them.

One that does not go through a model in one piece holds ``windows`` instead: several of these, see ``pieces_of``. One
that is answered otherwise than it is learnt holds ``lessons``, see ``lessons_of``.
"""

Forward: TypeAlias = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""A model reduced to its outputs: inputs [B, T] in, named outputs (``logits``, ...) out. Every runtime is one."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus."""

    text: str
    id: str
    meta: Mapping[str, Any] = field(default_factory=dict)


class Pair(NamedTuple):
    """The special tokens around two texts: ``[CLS] A [SEP] B [SEP]``."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Any) -> Self | None:
        """Read them from a fast tokenizer of Hugging Face's; None where nothing parts two texts."""
        encoded = tokenizer.backend_tokenizer.encode("a", "a")
        text = [place for place, flag in enumerate(encoded.special_tokens_mask) if not flag]
        half, end = len(text) // 2, len(encoded.ids)
        gaps = ((0, text[0]), (text[half - 1] + 1, text[half]), (text[-1] + 1, end)) if half else ()
        found = cls(*(tuple(encoded.ids[start:stop]) for start, stop in gaps)) if gaps else None
        return found if found is not None and found.between else None


@dataclass(frozen=True, slots=True)
class Symbols:
    """What an objective must know of a vocabulary."""

    pad: int
    mask: int | None
    size: int
    special: tuple[int, ...]
    pair: Pair | None = None
    end: int | None = None  # of a text
    sentinels: tuple[int, ...] = ()  # for hidden spans: the first, the second, ... of a row

    @classmethod
    def of(cls, tokenizer: Any) -> Self:
        """Read them from a fast tokenizer of Hugging Face's; one without a padding token pads with its end token."""
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        special = tuple(sorted(set(tokenizer.all_special_ids)))
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        known = map(tokenizer.backend_tokenizer.token_to_id, map(SENTINEL.format, count()))
        sentinels = tuple(takewhile(lambda token: token is not None, known))
        return cls(
            pad=0 if pad is None else pad,
            mask=tokenizer.mask_token_id,
            size=len(tokenizer),
            special=special,
            pair=Pair.of(tokenizer),
            end=end,
            sentinels=sentinels,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows as tensors, ready for a forward pass."""

    inputs: Mapping[str, Tensor]  # keyword arguments of model.forward: input_ids [B, T], attention_mask [B, T], ...
    targets: Mapping[str, Tensor]  # what the loss needs beside them: labels [B] or [B, T], ...
    items: Mapping[str, int]  # part of the loss -> how many items of it this batch holds

    def to(self, place: device) -> Self:
        return replace(self, inputs=_move(self.inputs, place), targets=_move(self.targets, place))


class Part(NamedTuple):
    """One term of a loss, as a *sum*: means of means are wrong when micro-batches hold different numbers of items.

    The loss of a step is the sum over parts of ``weight * total / items``, with total and items added up over all
    micro-batches (and processes) of the step first.
    """

    name: str
    total: Tensor  # scalar, nats, summed over items
    items: int
    weight: float = 1.0


class Objective(Protocol):
    """What is minimised."""

    def collate(
        self, rows: Sequence[Encoded], seeds: "np.ndarray[Any, np.dtype[np.uint64]]", symbols: Symbols
    ) -> Batch:
        """Make tensors. ``seeds`` [B] are all the randomness there is: equal seeds, equal batch."""

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        """Totals over the items of ``batch``, never divided."""


Predictor: TypeAlias = Callable[[Sequence[Row | str]], list[Prediction]]
"""All that evaluation, explanation, robustness and serving need to know of a model."""

Metric: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], float]
"""``metric(golds, predictions)``, of one kind of prediction."""


class Task(Objective, Protocol):
    """What the examples mean: an objective that also reads rows, has a head and answers."""

    auto_model: ClassVar[Any]  # Hugging Face's class with the head
    labelled: ClassVar[Any]  # shapes of a row with its gold answer, for lathe.core.data
    unlabelled: ClassVar[Any]  # shapes of a row to predict
    metrics: ClassVar[Mapping[str, Metric]]  # the first one selects the best model; all are "higher is better"
    least_labels: ClassVar[int]  # fewest labels there is something to learn with; 0 for a task that knows no labels
    labels: tuple[str, ...] | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head; none where the head's shape does not depend on the task's labels."""

    def labels_in(self, row: Row) -> Iterable[str]:
        """The labels that a row mentions: all have to be among ``labels``."""

    def group(self, row: Row) -> str:
        """What a row is about: rows of one group are never parted between training and validation."""

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        """Tokenize; a key ``truncated`` counts the pieces that did not fit."""

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> Sequence[Any]:
        """The prediction for each row, or what ``merge`` makes one of, for each window of one."""

    def merge(self, answers: Sequence[Any], row: Encoded) -> Prediction:
        """One prediction out of what was decoded for each of the windows of a row."""

    def gold(self, row: Row) -> Any: ...


def pieces_of(row: Encoded) -> Sequence[Encoded]:
    """What goes through a model for a row: the row itself, or each of its windows."""
    windows: Sequence[Encoded] = row.get("windows", (row,))
    return windows


def lessons_of(row: Encoded) -> Sequence[Encoded]:
    """What training steps are made of: the pieces of a row, or what it holds for training alone, answers included."""
    lessons: Sequence[Encoded] = row["lessons"] if "lessons" in row else pieces_of(row)
    return lessons


def lengths_of(rows: Sequence[Encoded]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Tokens of each row or window: those of ``input_ids``, unless the row says how many there are in all.  [rows]"""
    return np.array([row["length"] if "length" in row else len(row["input_ids"]) for row in rows], np.int64)


def upcast(tensor: Tensor) -> Tensor:
    """Losses are computed in float32 at least, whatever the matrix products ran in."""
    return tensor if tensor.dtype == float64 else tensor.float()


def as_row(row: Row | str) -> Row:
    """A bare string means ``{"text": it}``."""
    return {"text": row} if isinstance(row, str) else row


def _move(tensors: Mapping[str, Tensor], place: device) -> dict[str, Tensor]:
    if place.type == "cuda":  # from memory that stays where it is a copy need not be waited for
        tensors = {name: tensor if tensor.is_cuda else tensor.pin_memory() for name, tensor in tensors.items()}
    return {name: tensor.to(place, non_blocking=True) for name, tensor in tensors.items()}
