"""What answers show beyond their scores, and how a page shows it."""

import pytest

from lathe.core.predictions import Choice, Frame, Label, Number, Span, Spans
from lathe.tasks.findings import Bin, Findings, reliability
from lathe.tasks.pages import sections_of


def test_reliability_counts_each_row_once():
    answers = [Label("a", {"a": 0.95}), Label("a", {"a": 1.0}), Label("a", {"a": 0.4})]
    found = reliability(["a", "b", "a"], answers)
    assert found == [Bin(0.3, 0.4, 1, 0.4, 1.0), Bin(0.9, 1.0, 2, pytest.approx(0.975), 0.5)]


LABELS = [Label("a", {"a": 0.95, "b": 0.05}), Label("b", {"a": 0.1, "b": 0.9})]
SLOTS = ((Span(0, 1, "x"),), (Span(0, 1, "y"),))
KINDS = {
    "classify": (("a", "b"), ["a", "a"], LABELS, ["By label", "Confusion", "Calibration"]),
    "intent": (
        ("a", "b"),
        list(zip("aa", SLOTS, strict=True)),
        [Frame(one, Spans(SLOTS[0])) for one in LABELS],
        ["By label", "Calibration"],
    ),
    "choose": ((), [1, 0], [Choice(1, (0.3, 0.7)), Choice(1, (0.1, 0.5, 0.4))], ["Calibration"]),
    "tag": (("x", "y"), SLOTS, [Spans(SLOTS[0]), Spans(())], ["By label"]),
    "score": ((), [-2.0, 3.5], [Number(-1.0), Number(3.0)], ["Predicted against wanted"]),
    "transform": ((), [("a",), ("b",)], ["a", "b"], []),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_has_the_sections_that_its_answers_can_fill(kind):
    labels, golds, predictions, expected = KINDS[kind]
    sections = list(sections_of(Findings(kind, labels, golds, predictions)))
    assert [section.heading for section in sections] == expected
    assert all(section.content for section in sections)


def test_what_is_taken_for_what_is_a_list_where_a_matrix_is_too_large_to_read():
    labels = tuple(f"label {number}" for number in range(41))
    golds = [labels[0]] * 3 + [labels[1]] * 2
    found = Findings("classify", labels, golds, [Label(labels[2], {labels[2]: 1.0})] * 5)
    told = "".join(next(one for one in sections_of(found) if one.heading == "Confusion").content)
    assert told.startswith("The most frequent of 2 confusions among 41 labels.")
    assert told.index("label 0") < told.index("label 1") and told.count("label 2") == 2
