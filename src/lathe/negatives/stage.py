"""Hard negatives: rows of queries in, the same rows with what a search wrongly finds out."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lathe.core.answers import json_line, refuse_place, whole_file
from lathe.core.bundle import Bundle
from lathe.core.data import RETRIEVED, Columns, same
from lathe.core.errors import BundleError
from lathe.core.keyed import uniform, word
from lathe.core.predictions import Ranking
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.search import Collection
from lathe.core.types import Row
from lathe.loader import load, task_of
from lathe.models.baselines import BM25Search
from lathe.tasks import Embed
from lathe.tasks.examples import read_collection, read_tables
from lathe.tasks.retrieval import sought_of


@recipe
class Data:
    file: Path
    """Rows of queries with what they seek: JSONL, CSV, TSV or Parquet, plain or compressed."""
    collection: Path | None = None
    """Texts that are searched, with ids or without; the texts that stand in the rows if not given."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""


@recipe
class Recipe:
    data: Data
    """The rows."""
    bundle: Path | None = None
    """A model of task.kind=embed or rank that searches; BM25 if not given."""
    count: int = Field(7, ge=1)
    """Hard negatives that each row is to have; those it has are kept."""
    random: int = Field(2, ge=0)
    """Texts drawn by chance beside them: of hard ones alone a model that knows nothing yet learns nothing."""
    skip: int = Field(0, ge=0)
    """First places of a ranking that are passed over: what stands there may be sought, and nobody has said so."""
    max_share: float | None = Field(None, gt=0)
    """What scores more than this share of the lowest positive found is passed over for the same reason, such as 0.95
    (Moreira et al., 2024)."""


def run(recipe: Recipe, out: Path) -> Told:
    """Search for each query; ``out`` is a JSONL file of rows ``{query, positives, negatives}``."""
    refuse_place(out)
    task = Embed(scored=False) if recipe.bundle is None else task_of(Bundle.open(recipe.bundle, kind="model"))
    if task.labelled != RETRIEVED:
        raise BundleError(
            f"{recipe.bundle}: its task, {task.kind}, has other rows; give a model that searches, or none"
        )
    tables = read_tables({"file": recipe.data.file}, task, recipe.data.columns)
    given = read_collection(recipe.data.collection, task, tables)
    table = tables["file"]
    collection = given or Collection.of_rows(table)
    say(f"searched are all {len(collection):,} texts {collection.source}, by {recipe.bundle or 'BM25'}")
    rankings = _search(recipe.bundle, table.rows, collection)
    rows = [*with_negatives(table.rows, rankings, collection, recipe)]
    with whole_file(out) as stream:
        stream.writelines(map(json_line, rows))
    lacking = sum(len(row["negatives"]) < recipe.count + recipe.random for row in rows)
    added = sum(len(row["negatives"]) for row in rows) - sum(len(row["negatives"]) for row in table.rows)
    text = f"{out}: {added:,} negatives for {len(rows):,} rows" + (f"; {lacking:,} have fewer" if lacking else "")
    return Told(text, {"out": str(out), "rows": len(rows), "negatives": added, "rows_with_fewer": lacking})


def with_negatives(
    rows: Sequence[Row], rankings: Sequence[Ranking], collection: Collection, recipe: Recipe
) -> Iterator[dict[str, Any]]:
    """The rows with negatives behind those they have: the first of their rankings that they do not seek, and others."""
    sought = sought_of(rows)
    for row, ranking in zip(rows, rankings, strict=True):
        known = {*sought[same(row["query"])], *map(same, row["negatives"])}
        found = [(collection.text_of[name], score) for name, score in zip(ranking.ids, ranking.scores, strict=True)]
        right = [score for text, score in found if same(text) in sought[same(row["query"])]]
        most = math.inf if recipe.max_share is None or not right else recipe.max_share * min(right)
        new = [text for text, score in found[recipe.skip :] if score <= most and same(text) not in known]
        hard = [*row["negatives"], *dict.fromkeys(new)][: max(recipe.count, len(row["negatives"]))]
        drawn = [text for text in _drawn(row["query"], collection, recipe.random) if same(text) not in known]
        easy = [text for text in dict.fromkeys(drawn) if text not in hard][: recipe.random]
        yield {"query": row["query"], "positives": [*row["positives"]], "negatives": hard + easy}


def _drawn(query: str, collection: Collection, count: int) -> list[str]:
    """Four times as many as are needed: some may be sought, or hard."""
    places = uniform(np.array([word(query)], np.uint64), "negatives", 4 * count)[0] * len(collection)
    return [collection.texts[place] for place in places.astype(int)]


def _search(bundle: Path | None, rows: Sequence[Row], collection: Collection) -> Sequence[Ranking]:
    if bundle is None:
        return BM25Search().search(rows, collection)
    model = load(bundle)
    return [one for one in model.task.search(rows, collection, model) if isinstance(one, Ranking)]
