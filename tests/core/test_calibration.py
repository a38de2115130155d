"""Calibration: equal to scikit-learn's, and harmless where there is little to fit."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.calibration import _SigmoidCalibration
from sklearn.linear_model import LogisticRegression

from lathe.core import calibration
from lathe.core.calibration import Sure, fit_sigmoid, fit_temperature, fitted, logit
from lathe.core.errors import BundleError
from lathe.core.predictions import Label, Labels, Span, Spans


def drawn(seed, rows=300, classes=4, sharper=3.0):
    """Logits that are too sure by ``sharper``, and golds."""
    generator = np.random.default_rng(seed)
    true = generator.normal(size=(rows, classes)) * 1.5
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    golds = [int(generator.choice(classes, p=row)) for row in shares]
    return true * sharper, golds


def labels_of(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return [Label(str(row.argmax()), {str(i): float(p) for i, p in enumerate(row)}) for row in shares]


def test_the_temperature_is_the_likeliest_and_equals_an_optimizers():
    logits, golds = drawn(0)

    def loss(log_inverse):
        z = logits * np.exp(log_inverse)
        return np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(len(z)), golds])

    best = np.exp(-minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}).x)
    assert fit_temperature(logits, golds) == pytest.approx(best, rel=1e-5)
    assert best == pytest.approx(3, rel=0.2)


def test_the_sigmoid_equals_platts_in_scikit_learn_and_its_logistic_regression():
    generator = np.random.default_rng(1)
    scores = generator.beta(2, 1, 400)
    right = generator.random(400) < scores**3
    found, n = fit_sigmoid(scores, right), right.sum()
    x = logit(scores)
    platt = _SigmoidCalibration().fit(x, right.astype(int))
    assert [found.slope, found.offset] == pytest.approx([-platt.a_, -platt.b_], rel=1e-4)
    target = np.where(right, (n + 1) / (n + 2), 1 / (400 - n + 2))
    doubled = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(x, 2)[:, None], np.repeat([1, 0], 400), np.concatenate([target, 1 - target])
    )
    assert [found.slope, found.offset] == pytest.approx([doubled.coef_[0, 0], doubled.intercept_[0]], rel=1e-5)


def test_a_temperature_keeps_the_label_and_confidence_is_a_probability_for_each_row_alone():
    logits, golds = drawn(2)
    answers = labels_of(logits)
    found = fitted("classify", [str(gold) for gold in golds], answers)
    sure = [found(one) for one in answers]
    assert all(0 <= one <= 1 for one in sure)
    assert all(one >= 1 / 4 for one in sure)  # the chosen one is still the likeliest of four
    assert found(answers[7]) == sure[7] == Sure(answers[7], sure[7]).to_json()["confidence"]


@pytest.mark.parametrize("right", [[True] * 30, [False] * 30, [False] * 15 + [True] * 15])
def test_one_class_or_rows_told_apart_without_a_mistake_give_finite_figures(right):
    found = fit_sigmoid([0.0] * 15 + [1.0] * 15, right)
    assert np.isfinite([found.slope, found.offset]).all()
    assert all(0 < found(score) < 1 for score in (0.0, 0.5, 1.0))


def test_rows_without_a_mistake_do_not_sharpen():
    logits, _ = drawn(3)
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(1)


def test_few_rows_few_spans_and_tasks_without_a_score_have_none():
    assert fitted("classify", [], []) is None
    assert fitted("tag", [()] * 50, [Spans(())] * 50) is None
    assert fitted("embed", [0] * 50, [0] * 50) is None


def test_spans_and_labels_have_a_confidence_each():
    answers = [Spans((Span(0, 2, "LOC", 0.9), Span(3, 5, "LOC", 0.4)))] * 20
    assert fitted("tag", [(Span(0, 2, "LOC"),)] * 20, answers)(answers[0]) == pytest.approx([21 / 22, 1 / 22], abs=1e-6)
    several = [Labels(("a",), {"a": 0.9, "b": 0.2})] * 20
    assert set(fitted("multilabel", [("a",)] * 20, several)(several[0])) == {"a", "b"}


def test_what_is_written_is_read_and_what_is_broken_is_named(tmp_path):
    logits, golds = drawn(4)
    calibration.write(tmp_path, "classify", [str(gold) for gold in golds], labels_of(logits))
    assert calibration.read(tmp_path) == fitted("classify", [str(gold) for gold in golds], labels_of(logits))
    (tmp_path / calibration.NAME).write_text('{"kind": "temperature", "temperature": -1, "rows": 3}')
    with pytest.raises(BundleError, match="temperature"):
        calibration.read(tmp_path)
