"""What tasks share that search: rows of queries with what they seek, and the collection that is searched."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from lathe.core.data import Table, same
from lathe.core.metrics import METRICS
from lathe.core.predictions import Prediction
from lathe.core.predictor import TaskPredictor
from lathe.core.search import Collection
from lathe.core.types import Metric, Row

RANKING_METRICS: Mapping[str, Metric] = {
    name: METRICS[name].metric for name in ("ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100")
}


@runtime_checkable
class Searches(Protocol):
    """A task whose answer to a labelled row is a ranking of all that may be found, not of the row's own texts."""

    def collection(self, table: Table) -> Collection | None:
        """What the rows of a file search, where no collection is given; none where they do not search."""

    def search(self, rows: Sequence[Row], collection: Collection, model: TaskPredictor) -> Sequence[Prediction]:
        """The best of the collection for each row, whatever the other rows are."""


class Queries:
    """What a task is that reads rows ``{query, positives, negatives}``."""

    least_labels: ClassVar = 0
    labels: ClassVar[None] = None

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def group(self, row: Row) -> str:
        return str(row["query"] if "query" in row else row["text"])

    def gold(self, row: Row) -> Any:
        """The grade of each name that is sought: 1."""
        return dict.fromkeys(row.get("sought", row["positives"]), 1.0)


def sought_of(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Query -> all that any row seeks for it, each as `same` would have it and as it stands."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        known = found.setdefault(same(row["query"]), {})
        known |= {same(text): text for text in row.get("positives", ())}
    return found


def in_turn(texts: Sequence[str], most: int, number: int) -> list[str]:
    """At most so many of some texts, for each number the next ones.

    >>> [in_turn("abc", 2, number) for number in range(3)]
    [['a', 'b'], ['c', 'a'], ['b', 'c']]
    """
    taken = min(most, len(texts))
    return [texts[(number * taken + place) % len(texts)] for place in range(taken)]
