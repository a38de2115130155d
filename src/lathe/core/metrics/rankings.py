"""Metrics of rankings: golds are grades of ids, 0 or none for what is not sought; predictions are ids with scores.

Each is a mean over the rows that seek something; a row without a positive grade has no ranking to judge and does not
count. What was not found counts as missed, as in trec_eval. Equal scores are no order: the value is the mean over all
orders of the ids that share a score (McSherry and Najork, 2008, *Computing Information Retrieval Performance Measures
Efficiently in the Presence of Tied Scores*), so that a model which scores everything alike does no better than chance,
in whatever order its ids came.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import numpy as np

from lathe.core.metrics.sums import Floats, paired, ratio, total
from lathe.core.predictions import Ranking

Grades: TypeAlias = Mapping[str, float]


class Tie(NamedTuple):
    """Ids of one score, which stand behind ``before`` others in any order."""

    before: int
    grades: list[float]

    @property
    def size(self) -> int:
        return len(self.grades)

    @property
    def sought(self) -> int:
        return sum(grade > 0 for grade in self.grades)

    def within(self, k: int) -> int:
        """How many of its places are among the first ``k``."""
        return min(max(k - self.before, 0), self.size)


class Judged(NamedTuple):
    """A ranking beside its grades."""

    ties: list[Tie]
    best: list[float]  # all grades above 0, also of ids that were not found, the highest first


RowValue: TypeAlias = Callable[[Judged], float]
RankingRows: TypeAlias = Callable[[Sequence[Grades], Sequence[Ranking]], Floats]


def ndcg(row: Judged, k: int) -> float:
    """Sum of grade / log2(place + 1) over the first ``k`` places, by that of the best order (Järvelin et al., 2002)."""
    gains = (sum(grade for grade in tie.grades if grade > 0) / tie.size for tie in row.ties)
    found = sum(gain * _discounts(tie.before, tie.within(k)) for gain, tie in zip(gains, row.ties, strict=True))
    return found / sum(grade * _discounts(place, 1) for place, grade in enumerate(row.best[:k]))


def recall(row: Judged, k: int) -> float:
    """Share of what is sought that stands in the first ``k`` places."""
    return sum(tie.sought * tie.within(k) / tie.size for tie in row.ties) / len(row.best)


def hit(row: Judged, k: int) -> float:
    """Whether anything that is sought stands in the first ``k`` places."""
    missed = (math.comb(tie.size - tie.sought, n) / math.comb(tie.size, n) for tie in row.ties if (n := tie.within(k)))
    return 1.0 - math.prod(missed)


def reciprocal_rank(row: Judged, k: float = math.inf) -> float:
    """1 / place of the first id that is sought; 0 where none is found in the first ``k`` places."""
    first = next((tie for tie in row.ties if tie.sought), None)
    if first is None:
        return 0.0
    others, ways = first.sought - 1, math.comb(first.size, first.sought)
    return sum(
        math.comb(first.size - place, others) / ways / (first.before + place)
        for place in range(1, first.size - others + 1)
        if first.before + place <= k
    )


def precision_at_hits(row: Judged) -> float:
    """Mean over all ids that are sought of the precision at their place; 0 for one that is not found."""
    value, found = 0.0, 0
    for tie in row.ties:
        beside = (tie.sought - 1) / max(tie.size - 1, 1)  # chance that another place of the tie is of one sought
        value += sum(
            tie.sought / tie.size * (found + 1 + place * beside) / (tie.before + place + 1) for place in range(tie.size)
        )
        found += tie.sought
    return value / len(row.best)


def ranking_rows(value: RowValue, golds: Sequence[Grades], predictions: Sequence[Ranking]) -> Floats:
    """The value of each row, and 1; two zeros for a row that seeks nothing.  [N, 2]"""
    rows = [_judged(gold, one) for gold, one in paired(golds, predictions)]
    return np.array([(value(row), 1) if row.best else (0, 0) for row in rows], np.float64)


def ranking_mean(rows: RankingRows, golds: Sequence[Grades], predictions: Sequence[Ranking]) -> float:
    """The metric of these rows. Raises ``ValueError`` where no row seeks anything."""
    sums = total(rows, golds, predictions)
    if not sums[1]:
        raise ValueError(f"none of {len(golds)} rows has an id with a grade above 0: there is no ranking to judge")
    return float(sought_mean_of(sums))


def sought_mean_of(sums: Floats) -> Floats:
    """0 where rows were drawn that seek nothing.  [..., 2] -> [...]"""
    return ratio(sums[..., 0], sums[..., 1])


def _judged(gold: Grades, prediction: Ranking) -> Judged:
    if len(set(prediction.ids)) < len(prediction.ids) or any(map(math.isnan, prediction.scores)):
        raise ValueError(f"a ranking has an id twice or a score that is not a number: {_brief(prediction)}")
    scored = sorted(zip(prediction.scores, prediction.ids, strict=True), key=itemgetter(0), reverse=True)
    ties: list[Tie] = []
    for _, group in groupby(scored, key=itemgetter(0)):
        ties.append(Tie(ties[-1].before + ties[-1].size if ties else 0, [gold.get(name, 0.0) for _, name in group]))
    return Judged(ties, sorted((grade for grade in gold.values() if grade > 0), reverse=True))


def _discounts(before: int, places: int) -> float:
    return sum(1 / math.log2(before + place + 2) for place in range(places))


def _brief(prediction: Ranking) -> str:
    return ", ".join(
        f"{name} {score}" for name, score in zip(prediction.ids[:10], prediction.scores[:10], strict=False)
    )
