"""Relations between the entities of a text: who works for whom, what is part of what."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification

from lathe.core.data import ENTITIES, RELATED, TOKENS_OR_TEXT, Shape, Table
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds
from lathe.core.metrics import relation_boundaries_f1, relation_entity_f1, relation_f1
from lathe.core.predictions import Relation, Relations, Span, Spans
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols, pieces_of, upcast
from lathe.tasks.bio import Floats, encode_windows, read_tags, tag_labels, tags_of, word_scores
from lathe.tasks.encoding import Tokens, tokenize
from lathe.tasks.labels import Labels
from lathe.tasks.losses import LabelLoss
from lathe.tasks.marks import Marks, mark
from lathe.tasks.texts import padded

ENTITY = "entity:"
"""How the name of a type of entities begins among the labels, so that it is no relation's."""

Pairs: TypeAlias = Sequence[tuple[Span, Span]]


class Known(NamedTuple):
    """A pair of entities, and which classes it is of."""

    pair: tuple[Span, Span]
    golds: tuple[int, ...]


@recipe
class Relate(LabelLoss):
    """Cross-entropy of each ordered pair of entities, -log P(relation | text, head, tail), no relation being one, too.

    Head and tail are marked in the text with their types. A linear layer reads the states of both marks side by side,
    which is the sum of two linear layers, one for each: they are outputs of Hugging Face's token-classification head.
    With `entities=find` the same head has the BIO tags of the entities as well, learnt on the unmarked text; to answer,
    entities are found first, then each pair of them is asked about.
    """

    auto_model: ClassVar = AutoModelForTokenClassification
    labelled: ClassVar = RELATED
    least_labels: ClassVar = 1

    kind: Literal["relate"] = "relate"
    entities: Literal["given", "find"] = "given"
    """Whether rows to answer come with their entities, or are texts in which the model finds them itself."""
    labels: Labels | None = None
    """Names of the relations, and with `entities=find` of the types of entities with `entity:` before them; those in
    the training data if not given."""
    no_relation: str = "no_relation"
    """Pairs that no relation ties; also a label of marked pairs that says so, such as Other. Never an answer."""
    multi_label: bool | None = None
    """Whether several relations may hold from one entity to another: each then has a probability of its own, and is
    given from 0.5 on. As in the training rows if not given."""
    max_entities: int | None = Field(None, ge=2)
    """With `entities=find`, most entities of a text whose pairs are asked about, the surest of those found; as many as
    a training row has if not given."""
    max_length: int | None = Field(None, ge=8)
    """Tokens of a window with its marks; of longer texts each pair is seen in the middle of one. As the model allows
    (at most 512) if not given."""
    stride: int = Field(64, ge=0)
    """Tokens that neighbouring windows share in which entities are sought; at most half a window."""

    @property
    def unlabelled(self) -> tuple[Shape, ...]:
        return ENTITIES if self.entities == "given" else TOKENS_OR_TEXT

    @property
    def metrics(self) -> Mapping[str, Metric]:
        found = {"relation_boundaries_f1": relation_boundaries_f1, "relation_entity_f1": relation_entity_f1}
        return {"relation_f1": relation_f1} | (found if self.entities == "find" else {})

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(label.removeprefix(ENTITY) for label in self.labels or () if label.startswith(ENTITY))

    @property
    def tags(self) -> tuple[str, ...]:
        return tags_of(self.types) if self.entities == "find" else ()

    @property
    def classes(self) -> tuple[str, ...]:
        """What a pair may be."""
        found = (label for label in self.labels or () if label != self.no_relation and not label.startswith(ENTITY))
        return (self.no_relation, *found)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head: the tags of entities, then what the head of a pair says, then its tail."""
        return (*self.tags, *(f"{end}:{name}" for end in ("head", "tail") for name in self.classes))

    def labels_in(self, row: Row) -> Iterator[str]:
        yield from (one.label for one in row.get("relations", ()) if one.label != self.no_relation)
        if self.entities == "find":
            yield from (ENTITY + span.label for span in row.get("spans", ()))

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> Relations:
        relations = tuple(one for one in row["relations"] if one.label != self.no_relation)
        return Relations(relations, tuple(row["spans"]) if self.entities == "find" else None)

    def pairs(self, row: Row) -> Pairs:
        """The pairs of a row that something is to be said of: the marked ones, or all of its entities."""
        marked = self.entities == "given" and "pairs" in row
        return row["pairs"] if marked else tuple(permutations(row["spans"], 2))

    def known(self, row: Row) -> list[Known]:
        """The pairs of a labelled row with their classes."""
        number = {name: place for place, name in enumerate(self.classes)}
        golds: defaultdict[tuple[Span, Span], list[int]] = defaultdict(list)
        for one in row["relations"]:
            golds[one.head, one.tail].append(number[one.label])
        return [Known(pair, tuple(golds.get(pair, (0,)))) for pair in self.pairs(row)]

    def fitted(self, tables: Mapping[str, Table]) -> Self:
        """The task, knowing whether a pair may have several relations, and the weight of each."""
        train = tables["train"]
        known = [(line, one) for line, row in zip(train.lines, train.rows, strict=True) for one in self.known(row)]
        if not known:
            raise DataError(f"{train.path}: no row has two entities, between which something could hold")
        several = next((line for line, one in known if len(one.golds) > 1), None)
        if self.multi_label is False and several is not None:
            raise DataError(
                f"{train.path}:{several}: two relations from one entity to another; set task.multi_label=true, or keep "
                "one of them"
            )
        counts = Counter(gold for _, one in known for gold in one.golds)
        balanced = {name: len(known) / (len(self.classes) * max(counts[n], 1)) for n, name in enumerate(self.classes)}
        multi_label = several is not None if self.multi_label is None else self.multi_label
        most = self.max_entities or max(len(row["spans"]) for row in train.rows)
        weights = self.weights_of(self.classes, balanced)
        return replace(self, multi_label=multi_label, class_weights=weights, max_entities=most)

    # ------------------------------------------------------------------------------------------------ into the model
    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        named = {span.label for row in rows for span in row.get("spans", ())}
        marks = Marks.of(tokenizer, named.union(self.types))
        tokens = tokenize([row["text"] for row in rows], tokenizer, None)
        encode = self._with_entities if self.entities == "find" else self._related
        return [encode(row, found, marks) for row, found in zip(rows, tokens, strict=True)]

    def _related(self, row: Row, tokens: Tokens, marks: Marks) -> Encoded:
        if "relations" in row:
            return self._asked(self.known(row), tokens, marks)
        return self._asked([Known(pair, ()) for pair in self.pairs(row)], tokens, marks)

    def _with_entities(self, row: Row, tokens: Tokens, marks: Marks) -> Encoded:
        """A text whose entities are sought; it is learnt with its pairs."""
        sought = encode_windows(row, tokens, self.tags, self.max_length, self.stride) | {
            "tokens": tokens,
            "marks": marks,
        }
        if "relations" not in row:
            return sought
        related = self._related(row, tokens, marks)
        return sought | {"lessons": [*pieces_of(sought), *related["windows"]], "apart": related["apart"]}

    def _asked(self, pairs: Sequence[Known], tokens: Tokens, marks: Marks) -> dict[str, Any]:
        """A window for each pair that fits into one."""
        windows, shown = [], []
        first, more = len(self.tags), len(self.classes)
        for pair, golds in pairs:
            if (marked := mark(tokens, pair, marks, self.max_length)) is not None:
                tags = [first + golds[0], first + more + golds[0]] if golds else None
                windows.append({"input_ids": marked.input_ids, "pieces": marked.ends, "tags": tags, "golds": golds})
                shown.append(pair)
        return {"windows": windows, "pairs": shown, "apart": len(pairs) - len(shown)}

    def asked_again(self, answer: Any, row: Encoded) -> Encoded | None:
        if self.entities == "given":
            return None
        surest = sorted(answer.spans, key=lambda span: -span.score)[: self.max_entities]
        pairs = [Known(pair, ()) for pair in permutations([span for span in answer.spans if span in surest], 2)]
        return self._asked(pairs, row["tokens"], row["marks"]) | {"spans": answer.spans}

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        """Labels [B, T]: of entities the tag of each word at its first piece, of a pair its class at both marks."""
        inputs = padded(rows, symbols)
        if any(row["tags"] is None for row in rows):
            return Batch(inputs, {}, {})
        labels = tag_labels(rows, inputs["input_ids"].shape[1])
        golds = [row["golds"] for row in rows if "golds" in row]
        is_of = torch.zeros(len(golds), len(self.classes), dtype=torch.bool)
        for number, classes in enumerate(golds):
            is_of[number, list(classes)] = True
        items: dict[str, int] = {self.kind: is_of.numel() if self.multi_label else len(golds)}
        if self.entities == "find":
            items["entities"] = int(((labels != IGNORE) & (labels < len(self.tags))).sum())
        return Batch(inputs, {"labels": labels, "is_of": is_of}, items)

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits, labels = upcast(model(**batch.inputs).logits), batch.targets["labels"]  # [B, T, C], [B, T]
        tags, tails = len(self.tags), len(self.tags) + len(self.classes)
        is_head = (labels >= tags) & (labels < tails)
        scores = logits[is_head][:, tags:tails] + logits[labels >= tails][:, tails:]  # [pairs, classes]
        if self.multi_label:
            losses = self.each_of_several(scores, batch.targets["is_of"], self.classes)
        else:
            losses = self.one_of_several(scores, labels[is_head] - tags, self.classes)
        parts = [Part(self.kind, losses.sum(), batch.items[self.kind])]
        if self.entities == "find":
            found = labels.where(labels < tags, IGNORE).flatten()
            total = F.cross_entropy(logits[..., :tags].flatten(0, 1), found, ignore_index=IGNORE, reduction="sum")
            parts.append(Part("entities", total, batch.items["entities"]))
        return parts

    # ---------------------------------------------------------------------------------------------- out of the model
    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Spans | Floats]:
        """The probability of each class of a pair, [classes]; the entities of a text, or of a window their scores."""
        return [self._decoded(logits, row) for logits, row in zip(outputs["logits"].float(), rows, strict=True)]

    def _decoded(self, logits: Tensor, row: Encoded) -> Spans | Floats:
        tags, tails = len(self.tags), len(self.tags) + len(self.classes)
        if "golds" in row:
            head, tail = row["pieces"]
            scores = logits[head, tags:tails] + logits[tail, tails:]
            found: Floats = (scores.sigmoid() if self.multi_label else scores.softmax(-1)).numpy()
            return found
        words = word_scores(logits[:, :tags], row["pieces"])
        return read_tags(words, row, self.tags) if "words" in row else words

    def merge(self, answers: Sequence[Floats], row: Encoded) -> Relations | Spans:
        if "pairs" not in row:
            return read_tags(np.concatenate(answers), row, self.tags)
        found = [
            Relation(head, tail, self.classes[place], float(scores[place]))
            for (head, tail), scores in zip(row["pairs"], answers, strict=True)
            for place in self._given(scores)
        ]
        return Relations(tuple(found), row.get("spans"))

    def _given(self, scores: Floats) -> list[int]:
        """The classes of a pair that are told."""
        best = np.flatnonzero(scores >= 0.5) if self.multi_label else [scores.argmax()]
        return [int(place) for place in best if place]
