"""A vector for each text, near to texts that mean the same: for search, similarity, clustering."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, PretrainedConfig

from lathe.core.coupled import coupled_part
from lathe.core.data import CANDIDATES, PAIR, QUERY, RETRIEVED, SCORED_PAIR, TEXT, Shape, Table, same
from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds
from lathe.core.metrics import pearson, spearman
from lathe.core.predictions import Number, Ranking, Vector
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.search import Best, Collection
from lathe.core.types import Batch, Encoded, Metric, Part, Row, Symbols, upcast
from lathe.objectives.text import reads_both_sides
from lathe.tasks.contrast import ALSO, NEGATIVE, POSITIVE, SCORED, Mark, contrast, ordered
from lathe.tasks.contrast import QUERY as ASKS
from lathe.tasks.retrieval import RANKING_METRICS, Queries, in_turn, sought_of
from lathe.tasks.texts import padded
from lathe.tasks.windows import Read, read_texts

CHUNK = 1024  # texts of a collection in memory at a time


@recipe
class Embed(Queries):
    """A query is near to what it seeks, and far from all else in its step: InfoNCE with in-batch negatives.

    -log softmax over all texts of the step of cos(query, text) / temperature, at the positive. The larger the step, the
    more there is to tell apart; how it is cut into micro-batches changes nothing. Pairs with a score are learnt by
    their order (CoSENT). Nothing is added to the encoder: the folder opens as the model that it was.
    """

    auto_model: ClassVar = AutoModel
    outputs: ClassVar[tuple[str, ...]] = ()
    unlabelled: ClassVar[tuple[Shape, ...]] = (*CANDIDATES, *PAIR, *QUERY, *TEXT)

    kind: Literal["embed"] = "embed"
    max_length: int | None = Field(None, ge=3)
    """Longest text in tokens; what is cut off is counted and said. As the model allows (at most 512) if not given."""
    pooling: Literal["mean", "cls", "last"] = "mean"
    """What stands for a text: the mean of its tokens, the first, or, of a model that reads from the left, the last."""
    temperature: float = Field(0.05, gt=0)
    """Cosines are divided by this: the lower, the more the nearest negatives count."""
    negatives: int = Field(7, ge=0)
    """Most negatives of a row that are learnt beside each of its positives."""
    matryoshka_dims: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """The first so many numbers of a vector are to do alone, too: the loss is the mean over these and the whole."""
    scored: bool | None = None
    """Whether rows are two texts with a score; as the training rows are if not given."""

    @property
    def labelled(self) -> tuple[Shape, ...]:
        return {True: SCORED_PAIR, False: RETRIEVED, None: (*SCORED_PAIR, *RETRIEVED)}[self.scored]

    @property
    def metrics(self) -> Mapping[str, Metric]:
        of_pairs: dict[str, Metric] = {"spearman": spearman, "pearson": pearson}
        return {True: of_pairs, False: RANKING_METRICS, None: {**RANKING_METRICS, **of_pairs}}[self.scored]

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        return replace(self, scored="score" in tables["train"].rows[0])

    def check_model(self, shape: PretrainedConfig, symbols: Symbols) -> None:
        """Raises ``RecipeError`` for a model that gives no such vectors."""
        if shape.is_encoder_decoder:
            raise RecipeError(f"task.kind: embed needs an encoder, which {shape.model_type!r} is not; take a BERT")
        if self.pooling == "cls" and not reads_both_sides(shape):
            raise RecipeError(
                f"task.pooling: the first token of {shape.model_type!r} sees no other; set task.pooling=mean or last"
            )
        width = shape.get_text_config().hidden_size
        if wrong := [dim for dim in self.matryoshka_dims if dim >= width]:
            raise RecipeError(f"task.matryoshka_dims: {wrong[0]} is not below {width}, the numbers of a whole vector")

    def gold(self, row: Row) -> Any:
        return float(row["score"]) if "score" in row else super().gold(row)

    # ------------------------------------------------------------------------------------------------ into the model
    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        """One vector's text or several in ``texts``; a row that seeks holds a lesson for each of its positives."""
        asked = [_texts_of(row) for row in rows]
        unique = list(dict.fromkeys(chain.from_iterable(asked)))
        read = dict(zip(unique, read_texts([(text,) for text in unique], tokenizer, self.max_length), strict=True))
        sought = sought_of([row for row in rows if "positives" in row])
        return [
            self._encoded(row, texts, read, sought.get(same(row.get("query", "")), {}))
            for row, texts in zip(rows, asked, strict=True)
        ]

    def _encoded(
        self, row: Row, texts: Sequence[str], read: Mapping[str, Read], sought: Mapping[str, str]
    ) -> dict[str, Any]:
        cut = {"truncated": sum(read[text].truncated for text in texts)}
        if "positives" in row:
            lessons = [_pieces(*lesson, read) for lesson in self._lessons(row, sought)]
            return _pieces([row["query"]], [], read) | cut | {"lessons": lessons}
        marks = [Mark(SCORED, row["score"])] * 2 if "score" in row else []
        names = {"names": row["candidates"]} if "candidates" in row else {}
        return _pieces(texts, marks, read) | cut | names

    def _lessons(self, row: Row, sought: Mapping[str, str]) -> list[tuple[list[str], list[Mark]]]:
        """With each positive the texts that are embedded, and what they and others that are sought are.

        The negatives take turns where there are more than are taken.
        """
        lessons = []
        for number, positive in enumerate(row["positives"]):
            taken = in_turn(row["negatives"], self.negatives, number)
            marks = [Mark.of(ASKS, row["query"]), Mark.of(POSITIVE, positive)]
            marks += [Mark.of(NEGATIVE, text) for text in taken]
            marks += [Mark.of(ALSO, text) for text in sought.values() if text != positive]
            lessons.append(([row["query"], positive, *taken], marks))
        return lessons

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        """Inputs [M, T]: the texts of all rows. ``marks`` [B, S, 3], and of each text its place among B * S."""
        inputs = padded([text for row in rows for text in row["texts"]], symbols)
        if not all(row["marks"] for row in rows):
            return Batch(inputs, {}, {self.kind: 0})
        marks = pad_sequence([torch.tensor(row["marks"]) for row in rows], batch_first=True)
        firsts = range(0, marks.shape[0] * marks.shape[1], marks.shape[1])
        places = [first + place for first, row in zip(firsts, rows, strict=True) for place in range(len(row["texts"]))]
        return Batch(inputs, {"marks": marks, "places": torch.tensor(places)}, {self.kind: len(rows)})

    # ------------------------------------------------------------------------------------------------------- the loss
    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        return [coupled_part(self, model, batch, self.kind)]

    def embed(self, model: nn.Module, batch: Batch) -> Tensor:
        """Of each row its vectors and what they are of.  [B, S, D + 3]"""
        marks, places = batch.targets["marks"], batch.targets["places"]
        hidden = model(**batch.inputs).last_hidden_state
        found = upcast(self.pooled(hidden, batch.inputs["attention_mask"]))  # [M, D]
        slots = found.new_zeros(marks.shape[0] * marks.shape[1], found.shape[1]).index_copy(0, places, found)
        return torch.cat((slots.view(*marks.shape[:2], -1), marks.to(found)), -1)

    def couple(self, embeddings: Tensor) -> Tensor:
        compare = ordered if self.scored else contrast
        return compare(embeddings, self.temperature, self.matryoshka_dims)

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[M, T, D], [M, T] -> [M, D]"""
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
        weights = mask.unsqueeze(-1).to(hidden)
        return (hidden * weights).sum(1) / weights.sum(1)

    # --------------------------------------------------------------------------------------------------- the answers
    def decode(
        self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any
    ) -> list[Vector | Number | Ranking]:
        hidden = outputs["last_hidden_state"].float()
        lengths = torch.tensor([len(text["input_ids"]) for row in rows for text in row["texts"]])
        mask = torch.arange(hidden.shape[1]) < lengths[:, None]
        vectors = F.normalize(self.pooled(hidden, mask), dim=-1)
        of_rows = vectors.split([len(row["texts"]) for row in rows])
        return [_answer(row, some) for row, some in zip(rows, of_rows, strict=True)]

    def collection(self, table: Table) -> Collection | None:
        return None if self.scored else Collection.of_rows(table)

    def search(self, rows: Sequence[Row], collection: Collection, model: TaskPredictor) -> list[Ranking]:
        queries = _vectors([row["query"] for row in rows], model)  # [Q, D]
        itself = [(number, place) for number, row in enumerate(rows) for place in collection.itself(row)]
        best = Best(len(rows))
        for first in range(0, len(collection), CHUNK):
            scores = queries @ _vectors(collection.texts[first : first + CHUNK], model).t()  # [Q, c]
            for number, place in itself:
                if first <= place < first + scores.shape[1]:
                    scores[number, place - first] = float("-inf")
            best.add(scores, first)
        return best.rankings(collection.names)

    def furnish(self, folder: Path, shape: PretrainedConfig) -> None:
        """What sentence-transformers wants to know beside the model: how a text becomes one vector of length 1."""
        kinds = {0: ("", "Transformer"), 1: ("1_Pooling", "Pooling"), 2: ("2_Normalize", "Normalize")}
        modules = [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
            for number, (path, name) in kinds.items()
        ]
        modes = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}
        width = {"word_embedding_dimension": shape.get_text_config().hidden_size}
        pooling = width | {f"pooling_mode_{name}": self.pooling == mode for mode, name in modes.items()}
        limit = {"max_seq_length": self.max_length, "do_lower_case": False}
        for name, value in {
            "modules.json": modules,
            "sentence_bert_config.json": limit,
            "1_Pooling/config.json": pooling,
            "2_Normalize/config.json": {},
        }.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _texts_of(row: Row) -> tuple[str, ...]:
    """Everything that becomes a vector, the query first."""
    if "query" in row:
        return (row["query"], *row.get("positives", ()), *row.get("negatives", ()), *row.get("candidates", ()))
    return (row["text"], row["text_pair"]) if "text_pair" in row else (row["text"],)


def _pieces(texts: Sequence[str], marks: Sequence[Mark], read: Mapping[str, Read]) -> dict[str, Any]:
    pieces = [read[text].pieces[0] for text in texts]
    return {"texts": pieces, "marks": marks, "length": sum(len(piece["input_ids"]) for piece in pieces)}


def _answer(row: Encoded, vectors: Tensor) -> Vector | Number | Ranking:
    """vectors [texts, D]"""
    if "names" in row:
        return Ranking.of(row["names"], (vectors[1:] @ vectors[0]).tolist())
    return Vector(tuple(vectors[0].tolist())) if len(vectors) == 1 else Number(float(vectors[0] @ vectors[1]))


def _vectors(texts: Sequence[str], model: TaskPredictor) -> Tensor:
    answers = model([{"text": text} for text in texts])
    return torch.tensor([answer.values for answer in answers if isinstance(answer, Vector)])
