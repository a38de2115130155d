"""Metrics of rankings, beside their definitions over all orders of equal scores, scikit-learn's and trec_eval's."""

from itertools import permutations
from math import log2

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.metrics import CUTS, METRICS
from lathe.core.predictions import Ranking

IDS = "abcdef"
GRADES = st.dictionaries(st.sampled_from(IDS + "xy"), st.sampled_from([0, 1, 2, 0.5]), max_size=6).filter(
    lambda grades: any(grades.values())
)
SCORED = st.dictionaries(st.sampled_from(IDS), st.sampled_from([0.1, 0.2, 0.3]), max_size=6)


def value(name, gold, scores):
    return METRICS[name].metric([gold], [Ranking(tuple(scores), tuple(scores.values()))])


def plain(name: str, gold: dict[str, float], order: tuple[str, ...]) -> float:
    """Of one order without ties, as it is defined."""
    kind, _, cut = name.partition("@")
    k, sought = int(cut or 1000), [one for one in gold if gold[one] > 0]
    places = [place for place, one in enumerate(order[:k], 1) if one in sought]
    if kind == "ndcg":
        best = sorted(gold.values(), reverse=True)[:k]
        gains = [gold.get(one, 0) / log2(place + 1) for place, one in enumerate(order[:k], 1)]
        return sum(gains) / sum(grade / log2(place + 1) for place, grade in enumerate(best, 1))
    if kind == "map":
        return sum((index + 1) / place for index, place in enumerate(places)) / len(sought)
    return {
        "recall": len(places) / len(sought),
        "hit_rate": float(bool(places)),
        "mrr": 1 / places[0] if places else 0.0,
    }[kind]


@pytest.mark.parametrize(
    "name", ["mrr", "map", *(f"{kind}@{k}" for kind in ("ndcg", "recall", "hit_rate", "mrr") for k in (1, 5))]
)
@settings(max_examples=30, deadline=None)
@given(GRADES, SCORED)
def test_a_value_is_the_mean_over_all_orders_of_equal_scores(name, gold, scores):
    orders = [
        one for one in permutations(scores) if all(scores[a] >= scores[b] for a, b in zip(one, one[1:], strict=False))
    ]
    assert value(name, gold, scores) == pytest.approx(np.mean([plain(name, gold, order) for order in orders]))


@pytest.mark.parametrize("k", CUTS)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 3]), st.sampled_from([0.1, 0.2, 0.7])), min_size=2, max_size=9))
def test_ndcg_equals_scikit_learns(k, rows):
    grades, scores = map(list, zip(*rows, strict=True))
    if any(grades):
        gold = {str(index): grade for index, grade in enumerate(grades)}
        ours = value(f"ndcg@{k}", gold, dict(zip(gold, scores, strict=True)))
        assert ours == pytest.approx(sklearn.metrics.ndcg_score([grades], [scores], k=k))


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(IDS + "xy"), st.sampled_from([0, 1]), max_size=6),
    st.permutations(IDS),
    st.integers(1, 6),
)
def test_rankings_without_ties_are_judged_as_by_trec_eval(gold, order, length):
    trec = pytest.importorskip("pytrec_eval")
    if not any(gold.values()):
        return
    scores = {one: 1.0 / place for place, one in enumerate(order[:length], 1)}
    names = {
        "ndcg@5": "ndcg_cut_5",
        "map": "map",
        "mrr": "recip_rank",
        "recall@5": "recall_5",
        "hit_rate@5": "success_5",
    }
    theirs = trec.RelevanceEvaluator({"q": gold}, {"map", "recip_rank", "ndcg_cut", "recall", "success"}).evaluate(
        {"q": scores}
    )
    for ours, name in names.items():
        assert value(ours, gold, scores) == pytest.approx(theirs["q"][name])


def test_scores_that_are_all_equal_are_chance_in_whatever_order_ids_came():
    ids = tuple(f"id{number}" for number in range(20))
    for order in (ids, ids[::-1]):
        ranking = Ranking(order, (0.5,) * 20)
        assert METRICS["hit_rate@5"].metric([{"id0": 1}], [ranking]) == pytest.approx(0.25)
        assert METRICS["mrr"].metric([{"id0": 1}], [ranking]) == pytest.approx(np.mean([1 / n for n in range(1, 21)]))


def test_rows_that_seek_nothing_do_not_count():
    found = Ranking(("a", "b"), (2.0, 1.0))
    assert METRICS["mrr"].metric([{"b": 1}, {"a": 0}, {}], [found] * 3) == 0.5
    with pytest.raises(ValueError, match="none of 2 rows has an id with a grade above 0"):
        METRICS["mrr"].metric([{"a": 0}, {}], [found] * 2)


@pytest.mark.parametrize("ids, scores", [(("a", "a"), (2.0, 1.0)), (("a", "b"), (1.0, float("nan")))])
def test_a_ranking_that_is_none_is_refused(ids, scores):
    with pytest.raises(ValueError, match="an id twice or a score that is not a number: a "):
        METRICS["mrr"].metric([{"a": 1}], [Ranking(ids, scores)])
