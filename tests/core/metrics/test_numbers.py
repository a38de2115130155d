"""Metrics of numbers, beside scipy's and scikit-learn's."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lathe.core.metrics import pearson, rmse, spearman
from lathe.core.predictions import Number

VALUES = st.integers(-40, 40).map(lambda value: value / 8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=30))
def test_scores_of_numbers_equal_scipys(pairs):
    golds, values = map(list, zip(*pairs, strict=True))
    predictions = [Number(value) for value in values]
    assert rmse(golds, predictions) == pytest.approx(sklearn.metrics.root_mean_squared_error(golds, values))
    assume(len(set(golds)) > 1 and len(set(values)) > 1)
    assert pearson(golds, predictions) == pytest.approx(scipy.stats.pearsonr(golds, values).statistic, abs=1e-9)
    assert spearman(golds, predictions) == pytest.approx(scipy.stats.spearmanr(golds, values).statistic, abs=1e-9)


def test_large_numbers_do_not_cost_digits():
    x, noise = np.random.default_rng(0).normal(size=(2, 200))
    predictions = [Number(value) for value in (x + noise + 1e9).tolist()]
    assert pearson((x + 1e9).tolist(), predictions) == pytest.approx(
        scipy.stats.pearsonr(x, x + noise).statistic, abs=1e-6
    )


@pytest.mark.parametrize("metric", [pearson, spearman])
@pytest.mark.parametrize(
    "golds, values", [([1.0, 1.0], [1, 2]), ([1, 2], [0.1, 0.1]), ([0.1] * 3, [0.1] * 3), ([1], [1])]
)
def test_numbers_that_are_all_equal_have_no_correlation(metric, golds, values):
    assert metric(golds, [Number(value) for value in values]) == 0.0


@pytest.mark.parametrize("metric", [pearson, spearman, rmse])
def test_a_number_that_is_not_finite_is_refused_by_its_row(metric):
    with pytest.raises(ValueError, match="row 2: gold 2.0, predicted nan: not a finite number"):
        metric([1, 2], [Number(1), Number(float("nan"))])
