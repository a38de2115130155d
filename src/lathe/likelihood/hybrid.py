"""A network that has learnt beside an n-gram model, to say what that does not know.

Both are one model, the product of what they say (log-linear interpolation: Klakow, 1998). One more piece stands in the
network's vocabulary, the sentinel s, and its score tells how far the n-grams are to be trusted there. With scores z,

    p(w | h) = exp(z_w) p_ngram(w | h)^(1 + z_s) / Z(h)          Z(h): the sum over all pieces w

The network hears what the n-grams say before it answers: beside the embedding of each token it reads H f, where f is
what they say of the next one, f_w = max(0, 2 + log p_ngram(w | h) / 4), and H begins at 0. A network that has learnt
nothing leaves all as the n-grams say. In training they are those of the other parts of the text (`HeldOut`): on its own
text an n-gram model seems to know everything, and the network would learn to trust it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lathe.core.batches import EncodedRows
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds
from lathe.core.rows import Frame, frame_of
from lathe.core.runtime import cores
from lathe.core.tokens import TokenFile
from lathe.core.types import IGNORE, Batch, Encoded, Part, Symbols, upcast
from lathe.ngrams import BOS, EOS, UNK, NGramModel, Pieces, count, estimate
from lathe.ngrams.units import BREAK, Ids
from lathe.objectives import CausalLM
from lathe.objectives.vocabulary import labels_only, vocabulary_part

SENTINEL = "<|ngram|>"
HEARING = "hearing"
"""The name of H in the network, which it has beside what transformers knows of."""
GUIDE, SAID = "guide", "ngram_log_p"
"""What a row has beside its ``input_ids``, and what a batch has: log p of every piece by its rows' guides."""
LEAST = -20.0
"""log p of what n-grams cannot say, and the lowest that they are heard with."""

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Guide:
    """n-grams of a tokenizer's pieces, in the vocabulary of a network."""

    ngrams: NGramModel
    words: Ids  # [V] the n-grams' word for each piece of the network; -1: none
    sentinel: int

    @classmethod
    def of(cls, ngrams: NGramModel, tokenizer: Any, vocab_size: int) -> Self:
        """For a network of so many scores, whose tokenizer has the sentinel."""
        frame, special = frame_of(tokenizer), set(tokenizer.all_special_ids)
        pieces = [token for token in range(len(tokenizer)) if token not in special]
        if EOS + 1 + len(pieces) != len(ngrams.vocabulary):
            raise DataError(
                f"the network's tokenizer has {len(pieces):,} pieces, the n-grams "
                f"{len(ngrams.vocabulary) - EOS - 1:,}: they must be of the same tokenizer"
            )
        words = np.full(vocab_size, -1, np.int32)
        words[pieces] = np.arange(EOS + 1, EOS + 1 + len(pieces))
        for token, word in ((tokenizer.unk_token_id, UNK), *zip(frame.before[-1:], [BOS], strict=False)):
            if token is not None:
                words[token] = word
        words[[*(frame.end or frame.after)[:1]]] = EOS
        return cls(ngrams, words, tokenizer.convert_tokens_to_ids(SENTINEL))

    def says(self, tokens: Sequence[int] | Ids) -> Floats:
        """log p of every piece in the place of each of a row's tokens but the first.  [T - 1, V]"""
        log_p = self.ngrams.log_distributions(self.words[np.asarray(tokens)])[1:]
        said = np.full((len(log_p), len(self.words)), LEAST, np.float32)
        known = self.words >= 0
        said[:, known] = np.maximum(log_p[:, self.words[known]], LEAST)
        return said

    def says_first(self, token: int) -> float:
        """log p of the first token of a text, where the network reads no start before it."""
        return float(self.ngrams.log_probs(np.array([BOS, self.words[token]], np.int32))[1])


def give_hearing(model: PreTrainedModel) -> nn.Linear:
    """The matrix H as a part of the network; it has learnt nothing."""
    embedding: Any = model.get_input_embeddings()
    hearing = nn.Linear(model.config.vocab_size, embedding.weight.shape[1], bias=False, device=embedding.weight.device)
    nn.init.zeros_(hearing.weight)
    model.add_module(HEARING, hearing)
    return hearing


@contextmanager
def heard(model: PreTrainedModel, said: Tensor, index: Tensor) -> Iterator[None]:
    """Within it the network hears ``said`` [M, V] at the places ``index`` [M] of its input, flattened to [B * T]."""
    hearing: Any = model.get_submodule(HEARING)

    def add(_: nn.Module, __: Any, embedded: Tensor) -> Tensor:
        vectors = hearing((2 + said / 4).clamp(min=0)).to(embedded.dtype)  # [M, D]
        return embedded.flatten(0, 1).index_add(0, index, vectors).view_as(embedded)  # [B, T, D]

    handle = model.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def joined(scores: Tensor, said: Tensor, sentinel: int) -> Tensor:
    """z_w + (1 + z_s) log p_ngram(w).  [M, V]"""
    return scores + (1 + scores[:, sentinel, None]) * said


@dataclass(frozen=True)
class GuidedLM:
    """Next-token prediction by both, -sum_t log p(x_t | x_<t), over rows that bring the n-grams they are read with."""

    sentinel: int
    rows: CausalLM = field(default_factory=CausalLM)

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        batch = self.rows.collate(rows, seeds, symbols)
        said = np.concatenate([row[GUIDE].says(row["input_ids"]) for row in rows])  # [M, V], in the order of labels
        return Batch(batch.inputs, {**batch.targets, SAID: torch.from_numpy(said)}, batch.items)

    def loss(self, model: Any, batch: Batch) -> list[Part]:
        said, index = batch.targets[SAID], (batch.targets["labels"].flatten() != IGNORE).nonzero().flatten()
        with labels_only(model, batch) as labels, heard(model, said, index):
            scores = upcast(model(**batch.inputs).logits)  # [M, V]
        return [vocabulary_part(joined(scores, said, self.sentinel), labels, self.rows.kind)]


@dataclass(frozen=True)
class HeldOut:
    """n-grams of each part of a text's rows, counted on all other parts (deleted estimation: Jelinek and Mercer, 1985).

    To leave out each word alone would not do: names and turns come again within a page, so that n-grams of all but one
    word know more of the text than they will ever know of a new one.
    """

    units: Pieces
    vocabulary: tuple[str, ...]
    stream: Ids  # [L] the text
    order: int
    parts: int

    def rows(self, tokens: TokenFile, tokenizer: Any, vocab_size: int) -> EncodedRows:
        """The rows of the same text as the network reads them, each with n-grams that have not seen its part."""
        if len(tokens) < self.parts:
            raise DataError(
                f"{len(tokens):,} rows of text, too few for {self.parts} parts: lower `parts`, or give more"
            )
        numbers = np.linspace(0, len(tokens), self.parts + 1).astype(np.int64)
        cuts = self._places(tokens, frame_of(tokenizer))[numbers].tolist()
        with ThreadPoolExecutor(cores()) as threads:
            models = list(threads.map(self._without, cuts[:-1], cuts[1:]))
        rows = []
        for model, start, stop in zip(models, numbers[:-1], numbers[1:], strict=True):
            guide = Guide.of(model, tokenizer, vocab_size)
            rows += [{**tokens[i], GUIDE: guide} for i in range(start, stop)]
        return EncodedRows(rows, tokens.keys)

    def _without(self, start: int, stop: int) -> NGramModel:
        others = self.stream.copy()
        others[start:stop] = BREAK
        others[stop - 1] = BOS  # what stands behind the gap begins like a text: a word that follows nothing counts 0
        levels = count(others, self.order, len(self.vocabulary))
        return NGramModel.of_counts(self.units, self.vocabulary, levels, estimate(levels))

    def _places(self, tokens: TokenFile, frame: Frame) -> Ids:
        """Where each row begins in the stream, and where the last one ends.  [rows + 1]"""
        is_word = self.stream != BOS
        is_word[1:] &= (self.stream[1:] != EOS) | (bool(frame.end) & (self.stream[:-1] != BOS))  # no words, no row
        places = np.append(np.flatnonzero(is_word), len(self.stream))
        ends = np.cumsum(tokens.lengths - len(frame.before) - len(frame.after))
        if ends[-1] != len(places) - 1:
            raise DataError(
                f"the network reads {int(ends[-1]):,} tokens and the n-grams {len(places) - 1:,} in the same text: "
                "does it spell out special tokens, such as <|endoftext|>?"
            )
        found: Ids = places[np.append(0, ends)]
        return found
