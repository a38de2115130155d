"""Searching a collection: the best candidates for each query, a part of the collection at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from lathe.core.data import Table, same
from lathe.core.errors import DataError
from lathe.core.keyed import word
from lathe.core.metrics import CUTS
from lathe.core.predictions import Ranking
from lathe.core.types import Row

DEPTH = max(CUTS)
"""Places of a ranking that are kept: no metric looks further."""


@dataclass(frozen=True)
class Collection:
    """All that may be found, each text once, in an order that tells nothing of what is sought.

    Where scores are equal, this order decides which of them are among the first ``DEPTH``.
    """

    names: tuple[str, ...]  # an id, or the text itself
    texts: tuple[str, ...]
    source: str  # for people: where the texts are from

    @classmethod
    def of(cls, named: Mapping[str, str], source: str) -> Self:
        """From text -> name."""
        texts = sorted(named, key=word)
        return cls(tuple(named[text] for text in texts), tuple(texts), source)

    @classmethod
    def of_rows(cls, table: Table) -> Self:
        """What the rows of a file find, and what they do not. Raises ``DataError`` where these are ids."""
        texts = [text for row in table.rows for text in (*row["positives"], *row["negatives"])]
        if all(map(_is_id, texts)):
            raise DataError(
                f"{table.path}:{table.lines[0]}: positives: {texts[0]!r} is an id, as all of them are, and no text; "
                "give the file that holds the texts by data.collection"
            )
        return cls.of({text: text for text in texts}, f"that stand in {table.path.name}")

    @classmethod
    def of_file(cls, table: Table) -> Self:
        """A file of texts, with ids or without. Raises ``DataError`` for an id of two texts."""
        line_of: dict[str, int] = {}
        named: dict[str, str] = {}
        for line, row in zip(table.lines, table.rows, strict=True):
            name = row.get("id", row["text"])
            if "id" in row and name in line_of:
                raise DataError(f"{table.path}:{line}: the id {name!r} stands in line {line_of[name]}, too; rename one")
            line_of[name] = line
            named.setdefault(row["text"], name)
        return cls.of(named, f"of {table.path.name}")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def text_of(self) -> Mapping[str, str]:
        return dict(zip(self.names, self.texts, strict=True))

    @cached_property
    def name_of(self) -> Mapping[str, str]:
        return dict(zip(self.texts, self.names, strict=True))

    @cached_property
    def _places(self) -> Mapping[str, Sequence[int]]:
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(self.texts):
            places[same(text)].append(place)
        return places

    def itself(self, row: Row) -> list[int]:
        """Places of the query's own text, where it is not what is sought: nobody searches for what he has."""
        places = self._places.get(same(row["query"]), ())
        return [place for place in places if self.texts[place] not in row["positives"]]


def placed(table: Table, collection: Collection) -> list[dict[str, Any]]:
    """The rows with the texts of what they name, and ``sought``, the names. Raises ``DataError`` with file and line."""

    def text_of(given: str, line: int, role: str) -> str:
        if given in collection.text_of:
            return collection.text_of[given]
        if given in collection.name_of:
            return given
        raise DataError(
            f"{table.path}:{line}: {role}: {given[:80]!r} is neither an id nor a text {collection.source}; "
            "write it as it stands there, or add it there"
        )

    found = []
    for line, row in zip(table.lines, table.rows, strict=True):
        texts = {role: tuple(text_of(one, line, role) for one in row[role]) for role in ("positives", "negatives")}
        found.append({**row, **texts, "sought": tuple(collection.name_of[text] for text in texts["positives"])})
    return found


def _is_id(text: str) -> bool:
    return text.isascii() and len(text.split()) == 1 and any(map(str.isdecimal, text))


class Best:
    """The candidates with the highest scores for each query so far; memory does not grow with the collection."""

    def __init__(self, queries: int, depth: int = DEPTH) -> None:
        self.depth = depth
        self.scores = torch.empty(queries, 0)
        self.places = torch.empty(queries, 0, dtype=torch.long)

    def add(self, scores: Tensor, first: int) -> None:
        """Scores of the candidates from place ``first`` on, -inf for what is not to be found.  [Q, c]"""
        places = torch.arange(first, first + scores.shape[1]).expand(len(scores), -1)
        every, where = torch.cat((self.scores, scores), 1), torch.cat((self.places, places), 1)
        self.scores, chosen = every.topk(min(self.depth, every.shape[1]), dim=1)
        self.places = where.gather(1, chosen)

    def rankings(self, names: Sequence[str]) -> list[Ranking]:
        rankings = []
        for scores, places in zip(self.scores.tolist(), self.places.tolist(), strict=True):
            found = [(score, place) for score, place in zip(scores, places, strict=True) if score > float("-inf")]
            rankings.append(Ranking(tuple(names[place] for _, place in found), tuple(score for score, _ in found)))
        return rankings
