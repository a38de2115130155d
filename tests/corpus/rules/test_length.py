"""Bounds of length."""

import pytest

from lathe.core.errors import RecipeError
from lathe.core.recipe import parse
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
    ],
)
def test_bounds(bounds, text, measure, reason):
    assert reason(KeepLength(**bounds), text) == (measure and f"length: {measure}")


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({}, "keep_length has no bounds and would drop nothing; set one, such as min_words = 20"),
        ({"min_words": 9, "max_words": 8}, "min_words 9 is more than max_words 8: no text would be kept"),
    ],
)
def test_bounds_that_do_nothing_or_keep_nothing_are_refused(bounds, said):
    with pytest.raises(RecipeError, match=said):
        parse(KeepLength, bounds)
