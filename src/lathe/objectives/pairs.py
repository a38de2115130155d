"""Masked tokens and the relation of two pieces of text, learnt together: each part of the loss over its own items."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModelForPreTraining, PreTrainedConfig

from lathe.core.errors import DataError, RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.rows import Layout
from lathe.core.tokens import TokenFile
from lathe.core.types import IGNORE, Batch, Encoded, Pair, Part, Symbols, upcast
from lathe.objectives.masking import Masking
from lathe.objectives.vocabulary import labelled, labels_only, vocabulary_part

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Draws: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

HEADS = {"albert": "sop_logits", "bert": "seq_relationship_logits", "ernie": "seq_relationship_logits"}
"""Types of models with a head for two pieces, and the output that it makes: class 0 is the pair as the text has it."""


class Piece(NamedTuple):
    """A stretch of text: its tokens, and where in it words begin."""

    ids: Ids
    words: Ids

    def cut(self, start: int, end: int) -> "Piece":
        inside = self.words[(self.words >= start) & (self.words < end)]
        return Piece(self.ids[start:end], inside - start)


class Text(NamedTuple):
    """A row without its special tokens."""

    whole: Piece
    inner: Ids  # where sentences begin, but for the first

    def split(self, draw: float) -> tuple[Piece, Piece]:
        """Its two pieces, parted before a sentence: at least one begins inside."""
        at, end = int(self.inner[int(draw * len(self.inner))]), len(self.whole.ids)
        return self.whole.cut(0, at), self.whole.cut(at, end)


class Related(NamedTuple):
    """Two pieces and their class, or one piece without."""

    first: Piece
    second: Piece | None = None
    label: int = IGNORE


@recipe
class MaskedPairs(Masking):
    """What next sentence prediction and sentence order prediction share.

    A row in which no second sentence begins is one piece: it is learnt from without a class.
    """

    auto_model: ClassVar = AutoModelForPreTraining
    part: ClassVar[str]
    """Name of the loss of the relation."""

    @property
    def layout(self) -> Layout:
        return Layout(cut="between", words=self.unit.words, pairs=True)

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        if shape.model_type not in HEADS:
            raise RecipeError(
                f"objective.kind: {self.kind} needs a model with a head for two pieces of text; {shape.model_type!r} "
                f"has none: {', '.join(HEADS)} have one. Set model.kind=bert, or objective.kind=masked"
            )
        super().check_model(shape, symbols)
        if symbols.pair is None:
            raise RecipeError(
                f"objective.kind: {self.kind} needs a tokenizer that frames two texts, as [CLS] A [SEP] B [SEP]; this "
                "one does not. Make one with `lathe tokenizer algorithm.kind=wordpiece`, or set objective.kind=masked"
            )
        if getattr(shape, "type_vocab_size", 2) < 2:
            raise RecipeError(
                f"objective.kind: {self.kind} marks the two pieces by token types, and this model has only one: "
                "type_vocab_size has to be 2"
            )

    def check_rows(self, tokens: TokenFile, path: Path) -> None:
        if not len(tokens.divisible):
            raise DataError(
                f"{path}: {self.kind} needs rows of two sentences or more, and there are none: documents are single "
                "sentences, or max_length is too short. Make whole texts one document (source.unit=sentences of `lathe "
                "corpus` joins lines), or set objective.kind=masked"
            )

    @abstractmethod
    def relate(self, text: Text, row: Encoded, draws: Draws, symbols: Symbols) -> Related:
        """Two pieces from a text of two sentences or more; ``draws`` [4] are uniform."""

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        pair = _pair_of(symbols)
        related = []
        for row, draws in zip(rows, uniform(seeds, f"masked/{self.part}", 4), strict=True):
            text = text_of(row, pair)
            related.append(self.relate(text, row, draws, symbols) if len(text.inner) else Related(text.whole))
        framed = [_framed(one, pair) for one in related]
        inputs, labels = self.mask(framed, seeds, symbols)
        types = np.zeros(labels.shape, np.int64)  # [B, T]
        for number, row in enumerate(framed):
            types[number, row["second"] : len(row["input_ids"])] = 1
        classes = torch.tensor([one.label for one in related])  # [B]
        items = {"masked": labelled(labels), self.part: labelled(classes)}
        return Batch(
            inputs | {"token_type_ids": torch.from_numpy(types)}, {"labels": labels, "classes": classes}, items
        )

    def loss(self, model: Any, batch: Batch) -> list[Part]:
        with labels_only(model, batch) as labels:
            out = model(**batch.inputs)
        scores, classes = upcast(out[HEADS[model.config.model_type]]), batch.targets["classes"]  # [B, 2], [B]
        total = F.cross_entropy(scores, classes, ignore_index=IGNORE, reduction="sum")
        return [
            vocabulary_part(out.prediction_logits, labels, "masked"),
            Part(self.part, total, batch.items[self.part]),
        ]


@recipe
class MaskedNSP(MaskedPairs):
    """Masked tokens and next sentence prediction (Devlin et al., 2019).

    In half of the pairs the second piece follows the first (class 0), in the others it is from another document
    (class 1), there, too, the second piece of a row. Both are cut to the shorter of the two, so that neither its length
    nor its end tells where the second piece is from.
    """

    kind: Literal["masked_nsp"] = "masked_nsp"
    part: ClassVar = "next"

    def check_rows(self, tokens: TokenFile, path: Path) -> None:
        super().check_rows(tokens, path)
        if tokens.divisible_documents[0] == tokens.divisible_documents[-1]:
            raise DataError(
                f"{path}: masked_nsp needs two documents or more with two sentences each, and there is one: each "
                "record or line of a file is a document. Give more, or set objective.kind=masked_sop"
            )

    def relate(self, text: Text, row: Encoded, draws: Draws, symbols: Symbols) -> Related:
        first, second = text.split(draws[0])
        _, stranger = text_of(row["elsewhere"](draws[1]), _pair_of(symbols)).split(draws[2])
        size = min(len(second.ids), len(stranger.ids))
        label = int(draws[3] < 0.5)
        return Related(first, (second, stranger)[label].cut(0, size), label)


@recipe
class MaskedSOP(MaskedPairs):
    """Masked tokens and sentence order prediction (Lan et al., 2020).

    Two pieces that follow one another are in their order (class 0) or, in half of the pairs, exchanged (class 1).
    """

    kind: Literal["masked_sop"] = "masked_sop"
    part: ClassVar = "order"

    def relate(self, text: Text, row: Encoded, draws: Draws, symbols: Symbols) -> Related:
        first, second = text.split(draws[0])
        return Related(second, first, 1) if draws[3] < 0.5 else Related(first, second, 0)


def text_of(row: Encoded, pair: Pair) -> Text:
    """What stands between the special tokens of a row with the layout for pairs."""
    start = len(pair.before)
    end = len(row["input_ids"]) - len(pair.between) - len(pair.after)
    sentences = row["sentences"] - start
    return Text(Piece(row["input_ids"], row["words"]).cut(start, end), sentences[sentences > 0])


def _pair_of(symbols: Symbols) -> Pair:
    if symbols.pair is None:
        raise RecipeError("this tokenizer does not frame two texts")  # `check_model` has said how to get one
    return symbols.pair


def _framed(related: Related, pair: Pair) -> Encoded:
    """Tokens, where words begin, and the position from which on they belong to the second piece."""
    first, second, _ = related
    start = len(pair.before)
    if second is None:
        ids = np.concatenate([pair.before, first.ids, pair.after]).astype(np.int64)
        return {"input_ids": ids, "words": first.words + start, "second": len(ids)}
    at = start + len(first.ids) + len(pair.between)
    ids = np.concatenate([pair.before, first.ids, pair.between, second.ids, pair.after]).astype(np.int64)
    return {"input_ids": ids, "words": np.concatenate([first.words + start, second.words + at]), "second": at}
