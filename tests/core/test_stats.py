"""Intervals and paired tests, beside scipy's and known values."""

import numpy as np
import pytest
import scipy.stats as reference

from lathe.core.metrics import METRICS, accuracy, entity_f1, macro_f1
from lathe.core.predictions import Label, Span, Spans
from lathe.core.stats import Score, difference, mcnemar, mean_difference, score, sign_flip


def answers(right: np.ndarray) -> tuple[list[str], list[Label]]:
    """Gold labels and predictions that are right where ``right`` says so."""
    golds = ["ab"[i % 2] for i in range(len(right))]
    given = [gold if ok else "ba"[i % 2] for i, (gold, ok) in enumerate(zip(golds, right, strict=True))]
    return golds, [Label(label, {"a": float(label == "a"), "b": float(label == "b")}) for label in given]


def some(seed: int, count: int = 300, share: float = 0.8) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < share


def test_the_interval_of_an_accuracy_equals_scipys_bootstrap():
    right = some(0)
    golds, predictions = answers(right)
    ours = score(accuracy, golds, predictions, resamples=4000)
    theirs = reference.bootstrap((right.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert ours.value == pytest.approx(right.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.006)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        golds, predictions = answers(some(seed))
        interval = score(accuracy, golds, predictions, resamples=200, confidence=0.9, seed=seed)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.83 <= covered / 200 <= 0.96


def test_an_interval_is_a_function_of_its_seed():
    golds, predictions = answers(some(0))
    assert score(macro_f1, golds, predictions, seed=3) == score(macro_f1, golds, predictions, seed=3)
    assert score(macro_f1, golds, predictions, seed=3) != score(macro_f1, golds, predictions, seed=4)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "mcc", "ece", "brier"])
def test_resampling_sums_equals_calling_the_metric_again(name):
    golds, predictions = answers(some(5, 60))
    metric = METRICS[name].metric
    fast = score(metric, golds, predictions, resamples=50)
    slow = score(lambda g, p: metric(g, p), golds, predictions, resamples=50)
    assert tuple(fast) == pytest.approx(tuple(slow))


def test_resampling_spans_equals_calling_the_metric_again():
    golds = [(Span(0, 1, "A"),), (Span(2, 3, "B"), Span(5, 6, "A")), ()] * 5
    predictions = [Spans((Span(0, 1, "A"),)), Spans((Span(2, 3, "A"),)), Spans((Span(0, 1, "A"),))] * 5
    fast = score(entity_f1, golds, predictions, resamples=50)
    assert tuple(fast) == pytest.approx(tuple(score(lambda g, p: entity_f1(g, p), golds, predictions, resamples=50)))


def test_a_perfect_score_has_no_width():
    golds, predictions = answers(np.ones(50, bool))
    assert score(macro_f1, golds, predictions) == Score(1.0, 1.0, 1.0)


def test_equal_predictions_do_not_differ():
    golds, predictions = answers(some(0))
    assert difference(accuracy, golds, predictions, predictions) == Score(0.0, 0.0, 0.0)


def test_a_paired_interval_is_that_of_the_mean_of_the_differences_of_rows():
    old, new = some(0), some(1, share=0.9)
    golds, before = answers(old)
    _, after = answers(new)
    ours = difference(accuracy, golds, before, after, resamples=4000)
    rows = new.astype(float) - old
    theirs = reference.bootstrap((rows,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert ours.value == pytest.approx(rows.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.006)


def test_pairing_is_narrower_than_two_intervals():
    right = some(0)
    better = right.copy()
    better[np.flatnonzero(~right)[:10]] = True
    golds, before = answers(right)
    paired = difference(accuracy, golds, before, answers(better)[1])
    alone = score(accuracy, golds, before)
    assert paired.low > 0
    assert paired.high - paired.low < alone.high - alone.low


def test_an_interval_over_runs_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        hard = rng.random(200)  # rows differ in difficulty, runs in luck
        runs = [[hard + rng.normal(0, 0.2, 200) + rng.normal(0, 0.05) < 0.8 for _ in range(5)] for _ in range(2)]
        golds = answers(runs[0][0])[0]
        old, new = ([answers(right)[1] for right in side] for side in runs)
        interval = mean_difference(accuracy, golds, old, new, resamples=200, confidence=0.9, seed=trial)
        covered += interval.low <= 0 <= interval.high
    assert 0.8 <= covered / 100 <= 0.99


def test_the_spread_between_runs_is_that_of_a_sample_not_of_a_population():
    golds, right = answers(np.ones(20, bool))
    _, wrong = answers(np.zeros(20, bool))
    interval = mean_difference(accuracy, golds, [wrong, wrong], [wrong, right])  # differences of 0 and 1, on any rows
    assert tuple(interval) == pytest.approx((0.5, 0.5 - 0.5 * 2**0.5, 0.5 + 0.5 * 2**0.5))


def test_runs_that_do_not_pair_up_are_refused():
    golds, predictions = answers(some(0, 10))
    with pytest.raises(ValueError, match="1 runs against 2"):
        mean_difference(accuracy, golds, [predictions], [predictions, predictions])


@pytest.mark.parametrize("lost, won", [(0, 0), (0, 6), (3, 9), (10, 10), (40, 70)])
def test_mcnemar_equals_scipys_sign_test(lost, won):
    old = [True] * lost + [False] * won + [True] * 20
    new = [False] * lost + [True] * won + [True] * 20
    expected = reference.binomtest(won, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(old, new) == pytest.approx(expected)


def test_the_exact_sign_flip_test_equals_scipys():
    values = np.array([0.3, -0.1, 0.4, 0.2, 0.25, -0.05, 0.1, 0.6])
    theirs = reference.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(values) == pytest.approx(theirs.pvalue)


def test_the_random_sign_flip_test_is_near_the_t_test_where_that_holds():
    values = np.random.default_rng(0).normal(0.2, 1, 100)
    assert sign_flip(values) == pytest.approx(reference.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert sign_flip(values + 9) == pytest.approx(1 / 10_001)
