"""Areas under curves, beside scikit-learn's."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lathe.core.metrics import auroc, average_precision, micro_auroc, micro_average_precision
from lathe.core.predictions import Label, Labels

NAMES = ["a", "b", "好"]


def some(seed: int, levels: int, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores of 30 rows; few levels make ties.  [30, width] each"""
    rng = np.random.default_rng(seed)
    return rng.random((30, width)) < 0.4, rng.integers(0, levels, (30, width)) / levels


def as_labels(truth: np.ndarray, scores: np.ndarray) -> tuple[list[tuple[str, ...]], list[Labels]]:
    golds = [tuple(name for name, there in zip(NAMES, row, strict=True) if there) for row in truth]
    return golds, [Labels((), dict(zip(NAMES, row, strict=True))) for row in scores.tolist()]


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_areas_of_several_labels_equal_scikit_learns(seed, levels):
    truth, scores = some(seed, levels)
    golds, predictions = as_labels(truth, scores)
    assert auroc(golds, predictions) == pytest.approx(reference.roc_auc_score(truth, scores, average="macro"))
    assert micro_auroc(golds, predictions) == pytest.approx(reference.roc_auc_score(truth, scores, average="micro"))
    assert average_precision(golds, predictions) == pytest.approx(reference.average_precision_score(truth, scores))
    assert micro_average_precision(golds, predictions) == pytest.approx(
        reference.average_precision_score(truth, scores, average="micro")
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9])), min_size=2, max_size=20))
def test_of_two_labels_the_second_is_sought(rows):
    truth, scores = zip(*rows, strict=True)
    assume(len(set(truth)) == 2)
    golds = ["spam" if one else "ham" for one in truth]
    predictions = [Label("ham", {"ham": 1 - score, "spam": score}) for score in scores]
    assert auroc(golds, predictions) == pytest.approx(reference.roc_auc_score(truth, scores))
    assert average_precision(golds, predictions) == pytest.approx(reference.average_precision_score(truth, scores))


def test_areas_of_one_label_of_many_are_those_of_each_against_the_rest():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    golds = [NAMES[index] for index in np.random.default_rng(1).integers(0, 3, 40)]
    predictions = [Label(NAMES[row.argmax()], dict(zip(NAMES, row.tolist(), strict=True))) for row in probabilities]
    assert auroc(golds, predictions) == pytest.approx(
        reference.roc_auc_score(golds, probabilities, multi_class="ovr", labels=NAMES)
    )


def test_labels_without_rows_of_both_kinds_are_left_out():
    truth, scores = some(3, 1000)
    golds, predictions = as_labels(truth & [True, True, False], scores)
    assert auroc(golds, predictions) == pytest.approx(reference.roc_auc_score(truth[:, :2], scores[:, :2]))
    assert average_precision(golds, predictions) == pytest.approx(
        reference.average_precision_score(truth[:, :2], scores[:, :2])
    )
    assert auroc(["a", "a"], [Label("a", {"a": 0.9, "b": 0.1})] * 2) == 0.5


def test_scores_that_are_all_equal_are_chance():
    golds, predictions = ["a", "b"] * 5, [Label("a", {"a": 0.5, "b": 0.5})] * 10
    assert auroc(golds, predictions) == average_precision(golds, predictions) == 0.5


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="row 2: a score is not a number"):
        auroc(["a", "b"], [Label("a", {"a": 0.4, "b": 0.6}), Label("a", {"a": float("nan"), "b": float("nan")})])
