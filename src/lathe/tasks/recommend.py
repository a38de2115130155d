"""What a user takes next, after all that was taken before: films, goods, songs, articles."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from lathe.core.batches import pad_rows
from lathe.core.data import HISTORY, INTERACTED, TOOK, Shape, Table
from lathe.core.keyed import Seeds
from lathe.core.metrics import METRICS
from lathe.core.predictions import Ranking
from lathe.core.recipe import recipe
from lathe.core.search import DEPTH
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols
from lathe.objectives.vocabulary import labelled, vocabulary_loss
from lathe.tasks.histories import histories

PAD, UNKNOWN = "[PAD]", "[UNK]"
REPEATS = 0.01  # of the rows: from this share on users take things again


@recipe
class Recommend:
    """-sum log P(next item | all before) over every item of a history: cross-entropy over all items, none sampled.

    A causal language model whose words are items (SASRec; Kang and McAuley, 2018, with the softmax over all items that
    makes it as good as its successors; Klenitskiy and Vasilev, 2023). Items are known by name alone: what nobody took
    in the training rows is never recommended, and counts as missed.
    """

    auto_model: ClassVar = AutoModelForCausalLM
    labelled: ClassVar[tuple[Shape, ...]] = (*HISTORY, *INTERACTED)
    unlabelled: ClassVar[tuple[Shape, ...]] = TOOK
    metrics: ClassVar[Mapping[str, Metric]] = {
        name: METRICS[name].metric for name in ("ndcg@10", "mrr@10", "hit_rate@1", "hit_rate@10", "hit_rate@100")
    }
    least_labels: ClassVar = 0
    labels: ClassVar[None] = None
    outputs: ClassVar[tuple[str, ...]] = ()
    answers_at_end: ClassVar = True

    kind: Literal["recommend"] = "recommend"
    max_length: int | None = Field(None, ge=2)
    """Most items of a history that are read, the last ones; longer ones are learnt in parts. As the model allows (at
    most 512) if not given."""
    repeats: bool | None = None
    """Whether what was taken may be recommended again; if not given, whether users of the training rows take things
    again, in more than 1 of 100 rows."""

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def group(self, row: Row) -> str:
        """A user; where rows name none, histories that begin alike may be parts of one."""
        return str(row.get("user", row["history"][0]))

    def gold(self, row: Row) -> dict[str, float]:
        return {row["item"]: 1.0}

    def arranged(self, tables: Mapping[str, Table]) -> dict[str, Table]:
        return histories(tables)

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        rows = tables["train"].rows
        again = sum(row["item"] in row["history"] for row in rows)
        return replace(self, repeats=again > REPEATS * len(rows) if self.repeats is None else self.repeats)

    def own_tokenizer(self, tables: Mapping[str, Table]) -> PreTrainedTokenizerFast:
        """One word for each item of the training rows."""
        items = sorted({item for row in tables["train"].rows for item in (*row["history"], row["item"])})
        words = {word: number for number, word in enumerate((PAD, UNKNOWN, *items))}
        core = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
        return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, unk_token=UNKNOWN)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        """The last items of a history that are known, and as lessons all of them, each with the one that follows."""
        known = tokenizer.get_vocab()
        return [self._encoded(row, known) for row in rows]

    def _encoded(self, row: Row, known: Mapping[str, int]) -> dict[str, Any]:
        """Items that are not known are left out; a history of nothing else is one unknown item."""
        history = [known[item] for item in row["history"] if item in known] or [known[UNKNOWN]]
        most = self.max_length or len(history)
        encoded = {"input_ids": history[-most:], "taken": () if self.repeats else tuple(set(history))}
        if "item" not in row:
            return encoded | {"truncated": max(0, len(history) - most)}
        following = [*history[1:], known.get(row["item"], IGNORE)]
        if row.get("held"):  # what was before has been learnt
            following[:-1] = [IGNORE] * (len(following) - 1)
        ends = range(len(history), 0, -most)  # the last part is full, and the rest is in front
        parts = [slice(max(end - most, 0), end) for end in reversed(ends)]
        lessons = [{"input_ids": history[part], "next": following[part]} for part in parts]
        return encoded | {"lessons": [lesson for lesson in lessons if {*lesson["next"]} - {IGNORE}]}

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        input_ids, attention_mask = pad_rows(rows, symbols)  # [B, T]
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        if not all("next" in row for row in rows):
            return Batch(inputs, {}, {self.kind: 0})
        labels = np.full_like(input_ids, IGNORE)
        labels[attention_mask == 1] = np.concatenate([row["next"] for row in rows])
        targets = {"labels": torch.from_numpy(labels)}
        return Batch(inputs, targets, {self.kind: labelled(targets["labels"])})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [vocabulary_loss(model, batch, self.kind)]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Ranking]:
        """Of logits behind the last item, [B, V], the highest of all items."""
        scores = outputs["logits"].float().log_softmax(-1)[:, : len(tokenizer)]  # a model may have rows to spare
        scores[:, tokenizer.all_special_ids] = float("-inf")
        for number, row in enumerate(rows):
            scores[number, list(row["taken"])] = float("-inf")
        found = scores.topk(min(DEPTH, scores.shape[1]))
        return [_ranking(*one, tokenizer) for one in zip(found.values, found.indices, strict=True)]


def _ranking(scores: Tensor, tokens: Tensor, tokenizer: Any) -> Ranking:
    there = scores > float("-inf")
    names = tokenizer.convert_ids_to_tokens(tokens[there].tolist())
    return Ranking(tuple(names), tuple(scores[there].tolist()))
