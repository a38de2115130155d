"""The comparison: who is better is said only where it can be told."""

import pytest

from lathe.core.charts import POINTS, smooth
from lathe.core.predictions import Label
from lathe.core.stats import Score
from lathe.stories.comparison import Difference, Pair, Run, compare
from lathe.stories.report import lead, model_row, terminal_table, verdict

LABELS = ("a", "b")


def run(group: str, answers: str) -> Run:
    predictions = [Label(answer, {answer: 0.9, LABELS[answer == "a"]: 0.1}) for answer in answers]
    return Run(group, lambda rows: predictions[: len(rows)], 1000, predictions)


def compared(*runs: Run, pairs: tuple[Pair, ...] = ()):
    golds = ["a"] * 20 + ["b"] * 20
    rows = [{"text": f"text {number}", "label": gold} for number, gold in enumerate(golds)]
    return compare(runs, pairs, rows, golds, budget_s=0.001)


def test_runs_of_a_group_are_one_row_and_the_middle_one_is_shown():
    group = [run("many", "a" * 20 + "b" * right + "a" * (20 - right)) for right in (20, 0, 10)]
    result = compared(*group).results[0]
    assert result.accuracies == (1.0, 0.5, 0.75)
    assert result.accuracy.value == 0.75


def test_a_difference_is_paired_over_all_runs_of_a_group():
    good, bad = run("good", "a" * 20 + "b" * 20), [run("bad", "a" * 40), run("bad", "b" * 40)]
    (difference,) = compared(*bad, good, pairs=(Pair(old="bad", new="good"),)).differences
    assert difference.score.value == 0.5
    assert difference.score.low > 0


def test_examples_and_confusions_are_of_the_last_model():
    comparison = compared(run("first", "b" * 40), run("last", "a" * 40))
    assert comparison.confusion == ((20, 0), (20, 0))
    assert {example.gold for example in comparison.right} == {"a"}
    assert {(example.gold, example.predicted) for example in comparison.wrong} == {("b", "a")}


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ((0.031, 0.01, 0.05), "New is better than old by 3.1 points (95 % interval 1.0 to 5.0)."),
        ((-0.031, -0.05, -0.01), "Old is better than new by 3.1 points (95 % interval 1.0 to 5.0)."),
        ((0.01, -0.01, 0.03), "New and old cannot be told apart: +1.0 points (95 % interval −1.0 to +3.0)."),
    ],
)
def test_a_verdict_is_given_only_where_the_interval_excludes_zero(score, words):
    assert verdict(Difference(old="old", new="new", score=Score(*score))) == words


def test_the_lead_names_the_baseline_also_where_it_wins():
    comparison = compared(run("words", "a" * 20 + "b" * 20), run("small", "a" * 40))
    text = lead(comparison, {"seconds": {"corpus": 90}})
    assert "50.0 % of 40 texts" in text
    assert "words reaches 100.0 %" in text


def test_the_terminal_table_has_every_figure_of_the_report():
    comparison = compared(run("first", "a" * 40), run("last", "b" * 40))
    table = terminal_table(comparison)
    assert all(cell in table for result in comparison.results for cell in model_row(result))


def test_a_smoothed_curve_keeps_its_mean():
    points = [(float(x), float(x % 7)) for x in range(POINTS * 3)]
    curve = smooth(points)
    assert len(curve) == POINTS
    assert sum(y for _, y in curve) / len(curve) == pytest.approx(sum(y for _, y in points) / len(points))
