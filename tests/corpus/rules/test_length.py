"""Bounds of length."""

import pytest

from lathe.corpus.rules import KeepLength


@pytest.mark.parametrize(
    ("bounds", "text", "measure"),
    [
        ({"min_characters": 3}, "好好", "too few characters"),
        ({"max_characters": 3}, "four", "too many characters"),
        ({"min_bytes": 7}, "好好", "too few bytes"),
        ({"max_bytes": 5}, "好好", "too many bytes"),
        ({"min_words": 3}, "two words", "too few words"),
        ({"max_words": 2}, "三个字", "too many words"),
        ({"min_characters": 2, "max_bytes": 6, "min_words": 2, "max_words": 2}, "好好", None),
        ({}, "", None),
    ],
)
def test_bounds(bounds, text, measure, reason):
    assert reason(KeepLength(**bounds), text) == (measure and f"length: {measure}")
