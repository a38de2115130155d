"""Metrics of labels, beside scikit-learn's."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.metrics import METRICS, accuracy, brier, class_reports, confusion, ece, macro_f1, mcc, micro_f1
from lathe.core.predictions import Choice, Label, Labels

LABELS = ["bad", "good", "好", "差 评"]
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30)
SETS = st.lists(st.tuples(*[st.sets(st.sampled_from(LABELS))] * 2), min_size=1, max_size=20)
OF_LABELS = ["accuracy", "macro_f1", "micro_f1", "mcc", "ece", "brier"]


def sure(label: str) -> Label:
    return Label(label, {name: float(name == label) for name in LABELS})


def unsure(seed: int, count: int) -> list[Label]:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(LABELS)), count)
    return [Label(LABELS[row.argmax()], dict(zip(LABELS, row.tolist(), strict=True))) for row in probabilities]


@settings(max_examples=100, deadline=None)
@given(PAIRS)
@pytest.mark.filterwarnings("ignore")  # scikit-learn warns of classes without rows
def test_scores_of_labels_equal_scikit_learns(pairs):
    golds, answers = map(list, zip(*pairs, strict=True))
    predictions = [sure(answer) for answer in answers]
    assert METRICS["accuracy"].metric(golds, predictions) == pytest.approx(reference.accuracy_score(golds, answers))
    assert macro_f1(golds, predictions) == pytest.approx(
        reference.f1_score(golds, answers, average="macro", zero_division=0)
    )
    assert micro_f1(golds, predictions) == pytest.approx(
        reference.f1_score(golds, answers, average="micro", zero_division=0)
    )
    assert mcc(golds, predictions) == pytest.approx(reference.matthews_corrcoef(golds, answers), abs=1e-9)
    np.testing.assert_array_equal(
        confusion(golds, predictions, LABELS), reference.confusion_matrix(golds, answers, labels=LABELS)
    )
    expected = reference.precision_recall_fscore_support(
        golds, answers, labels=sorted(set(golds + answers)), zero_division=0
    )
    np.testing.assert_allclose(np.array(list(class_reports(golds, predictions).values())).T, expected)


@settings(max_examples=60, deadline=None)
@given(SETS)
@pytest.mark.filterwarnings("ignore")  # scikit-learn warns of classes without rows
def test_scores_of_several_labels_equal_scikit_learns(pairs):
    golds = [tuple(sorted(gold)) for gold, _ in pairs]
    predictions = [Labels(tuple(said), {}) for _, said in pairs]
    hot = [np.array([[name in row[side] for name in LABELS] for row in pairs]) for side in (0, 1)]  # [N, C] each
    assert accuracy(golds, predictions) == pytest.approx(reference.accuracy_score(*hot))
    occurring = np.flatnonzero((hot[0] | hot[1]).any(0))
    if not len(occurring):
        assert micro_f1(golds, predictions) == macro_f1(golds, predictions) == 1.0
        return
    for kind, theirs in zip(("precision", "recall", "f1"), range(3), strict=True):
        for average in ("micro", "macro"):
            expected = reference.precision_recall_fscore_support(
                *hot, labels=occurring, average=average, zero_division=0
            )[theirs]
            assert METRICS[f"{average}_{kind}"].metric(golds, predictions) == pytest.approx(expected)
    expected = reference.precision_recall_fscore_support(*hot, labels=occurring, zero_division=0)
    found = {name: report for name, report in class_reports(golds, predictions).items()}
    np.testing.assert_allclose(np.array([found[LABELS[index]] for index in occurring]).T, expected)


def test_the_accuracy_of_choices_is_that_of_their_places():
    assert accuracy(
        [0, 2, 1], [Choice(0, (0.9, 0.1)), Choice(2, (0.1, 0.2, 0.7)), Choice(0, (0.6, 0.4))]
    ) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_brier_equals_scikit_learns_sum_over_classes(seed):
    predictions = unsure(seed, 40)
    golds = [LABELS[i] for i in np.random.default_rng(seed).integers(0, 4, 40)]
    probabilities = [list(one.scores.values()) for one in predictions]
    one_hot = np.array([[gold == name for name in LABELS] for gold in golds], float)
    assert brier(golds, predictions) == pytest.approx(((one_hot - probabilities) ** 2).sum(1).mean())
    two = [Label("good", {"good": p[0], "bad": 1 - p[0]}) for p in probabilities]
    good = [gold == "good" for gold in golds]
    names = ["good" if g else "bad" for g in good]
    assert brier(names, two) == pytest.approx(2 * reference.brier_score_loss(good, [p[0] for p in probabilities]))


@pytest.mark.parametrize("seed", range(5))
def test_ece_is_the_mean_gap_between_confidence_and_accuracy_over_bins(seed):
    predictions = unsure(seed, 60)
    golds = [LABELS[i] for i in np.random.default_rng(seed).integers(0, 4, 60)]
    total = 0.0
    for low in range(15):
        inside = [
            (g, p) for g, p in zip(golds, predictions, strict=True) if low / 15 < p.scores[p.label] <= (low + 1) / 15
        ]
        if inside:
            confidence = np.mean([p.scores[p.label] for _, p in inside])
            total += len(inside) / 60 * abs(confidence - np.mean([g == p.label for g, p in inside]))
    assert ece(golds, predictions) == pytest.approx(total)


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("golds", [["good", "bad"], ["好", "差 评"], ["good", "好", "差 评"]])
def test_identity_has_the_best_score_there_is(name, golds):
    measure = METRICS[name]
    assert measure.metric(golds, [sure(gold) for gold in golds]) == (1.0 if measure.higher_is_better else 0.0)


def test_a_label_that_the_table_lacks_is_named():
    with pytest.raises(ValueError, match="label 'good' is not one of bad"):
        confusion(["good"], [sure("bad")], ["bad"])
