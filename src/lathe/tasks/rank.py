"""Candidates in the order in which they answer a query: each is read together with it (a cross-encoder)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification

from lathe.core.data import CANDIDATES, RETRIEVED, Shape, Table, same
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds
from lathe.core.predictions import Ranking
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.search import Collection
from lathe.core.types import Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.models.baselines import BM25Search
from lathe.tasks.retrieval import RANKING_METRICS, Queries, in_turn, sought_of
from lathe.tasks.texts import padded
from lathe.tasks.windows import Read, read_texts

NOTHING = Ranking((), ())
CHUNK_PAIRS = 4096  # in memory at a time


@recipe
class Rank(Queries):
    """Every candidate runs as a pair with its query, and has one score: Hugging Face's head with one output.

    Listwise: -log softmax over a positive and the negatives of its row, at the positive. Pointwise: binary
    cross-entropy of each pair by itself. It reads better than vectors compare, and too slowly for a whole collection:
    there it puts in order what BM25 has found.
    """

    auto_model: ClassVar = AutoModelForSequenceClassification
    labelled: ClassVar[tuple[Shape, ...]] = RETRIEVED
    unlabelled: ClassVar[tuple[Shape, ...]] = CANDIDATES
    metrics: ClassVar[Mapping[str, Metric]] = RANKING_METRICS
    outputs: ClassVar[tuple[str, ...]] = ("score",)

    kind: Literal["rank"] = "rank"
    max_length: int | None = Field(None, ge=5)
    """Longest pair in tokens; what is cut off, of the longer text, is counted and said. As the model allows (at most
    512) if not given."""
    loss_of: Literal["list", "pairs"] = "list"
    """What is learnt: which of a list is the positive one, or of each pair by itself whether it is."""
    negatives: int = Field(7, ge=1)
    """Most negatives of a row that are learnt beside each of its positives."""
    top_k: int = Field(50, ge=1)
    """Texts of a collection that BM25 finds for a query, and that are put in order; the others are not found."""

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """Raises ``DataError`` where there is nothing to tell apart."""
        table = tables["train"]
        alone = sum(not row["negatives"] for row in table.rows)
        if alone == len(table.rows):
            raise DataError(
                f"{table.path}: no row has negatives, which a candidate is to be told from; `lathe negatives "
                f"{table.path.name} -o with-negatives.jsonl` finds some that are hard to tell"
            )
        if alone:
            say(f"{table.path.name}: {alone:,} rows have no negatives; nothing is learnt from them")
        return self

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        """The pairs of a row; of one that seeks, a list of each positive with negatives beside it as lessons."""
        pairs = dict.fromkeys((row["query"], text) for row in rows for text in _candidates(row))
        read = dict(zip(pairs, read_texts([*pairs], tokenizer, self.max_length), strict=True))
        sought = sought_of([row for row in rows if "positives" in row])
        return [self._encoded(row, read, sought.get(same(row["query"]), {})) for row in rows]

    def _encoded(self, row: Row, read: Mapping[tuple[str, str], Read], sought: Mapping[str, str]) -> dict[str, Any]:
        def listed(texts: Sequence[str]) -> dict[str, Any]:
            found = [read[row["query"], text].pieces[0] for text in texts]
            return {"pairs": found, "names": texts, "length": sum(len(pair["input_ids"]) for pair in found)}

        texts = _candidates(row)
        cut = {"truncated": sum(read[row["query"], text].truncated for text in texts)}
        if "positives" not in row:
            return listed(texts) | cut
        wrong = [text for text in row["negatives"] if same(text) not in sought]
        lists = [(text, *in_turn(wrong, self.negatives, number)) for number, text in enumerate(row["positives"])]
        return listed(texts) | cut | {"lessons": [listed(one) for one in lists if len(one) > 1]}

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        """Inputs [M, T]: the pairs of all rows, M = sum of ``counts`` [B]; the first of a list is the positive one."""
        counts = torch.tensor([len(row["pairs"]) for row in rows])
        items = len(rows) if self.loss_of == "list" else int(counts.sum())
        inputs = padded([pair for row in rows for pair in row["pairs"]], symbols)
        return Batch(inputs, {"counts": counts}, {self.kind: items})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        scores = upcast(model(**batch.inputs).logits).squeeze(-1)  # [M]
        counts = batch.targets["counts"]
        if self.loss_of == "pairs":
            labels = torch.zeros_like(scores).index_fill(0, counts.cumsum(0) - counts, 1.0)
            total = F.binary_cross_entropy_with_logits(scores, labels, reduction="sum")
        else:
            lists = pad_sequence(list(scores.split(counts.tolist())), batch_first=True, padding_value=float("-inf"))
            total = F.cross_entropy(lists, torch.zeros_like(counts), reduction="sum")
        return [Part(self.kind, total, batch.items[self.kind])]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Ranking]:
        scores = outputs["logits"].float().squeeze(-1).split([len(row["pairs"]) for row in rows])
        return [Ranking.of(row["names"], found.tolist()) for row, found in zip(rows, scores, strict=True)]

    def collection(self, table: Table) -> Collection:
        return Collection.of_rows(table)

    def search(self, rows: Sequence[Row], collection: Collection, model: TaskPredictor) -> list[Ranking]:
        """What BM25 finds, in the order of the model."""
        found = BM25Search().search(rows, collection, self.top_k)
        rankings: list[Ranking] = []
        size = max(1, CHUNK_PAIRS // self.top_k)
        for first in range(0, len(rows), size):
            asked = [
                {"query": row["query"], "candidates": tuple(collection.text_of[name] for name in one.ids)}
                for row, one in zip(rows[first : first + size], found[first : first + size], strict=True)
            ]
            answers = model([row for row in asked if row["candidates"]])
            ordered = iter([one for one in answers if isinstance(one, Ranking)])
            rankings += [_named(next(ordered), collection) if row["candidates"] else NOTHING for row in asked]
        return rankings


def _candidates(row: Row) -> tuple[str, ...]:
    """What is paired with the query."""
    found: tuple[str, ...] = (*row["positives"], *row["negatives"]) if "positives" in row else row["candidates"]
    return found


def _named(ranking: Ranking, collection: Collection) -> Ranking:
    return Ranking(tuple(collection.name_of[text] for text in ranking.ids), ranking.scores)
