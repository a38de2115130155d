"""Spans: where they lie, and what stands in their place."""

from collections import Counter

import numpy as np
import pytest

from lathe.core.keyed import row_keys, uniform
from lathe.objectives.spans import Spans, first_of, random_parts, scattered

DRAWS = uniform(row_keys("spans", 6000), "test", 24)


@pytest.mark.parametrize("sizes", [[], [1], [3, 2], [0, 4, 0], [1, 1, 1, 1, 1], [10]])
def test_spans_lie_in_the_row_in_their_order_and_never_over_one_another(sizes):
    for draws in DRAWS[:200]:
        spans = scattered(draws, 10, np.array(sizes, np.int64))
        assert spans.sizes.tolist() == sizes
        ends = spans.starts + spans.sizes
        assert (spans.starts[1:] >= ends[:-1]).all()
        assert (spans.starts >= 0).all() and (ends <= 10).all()


def test_every_placement_is_as_likely():
    """One span of 2 and one of 1 among 3 other tokens: as many ways as to choose 2 of 5 places."""
    found = Counter(tuple(scattered(draws, 6, np.array([2, 1])).starts.tolist()) for draws in DRAWS)
    assert len(found) == 10
    assert max(found.values()) < 1.25 * min(found.values())


def test_every_cut_into_parts_is_as_likely():
    found = Counter(tuple(random_parts(draws, 5, 3).tolist()) for draws in DRAWS)
    assert {sum(parts) for parts in found} == {5}
    assert len(found) == 6
    assert max(found.values()) < 1.25 * min(found.values())


@pytest.mark.parametrize("items", [1, 2, 7])
def test_as_many_parts_as_items_or_one(items):
    assert random_parts(DRAWS[0], items, items).tolist() == [1] * items
    assert random_parts(DRAWS[0], items, 1).tolist() == [items]


@pytest.mark.parametrize("total", range(8))
def test_the_first_sizes_take_the_total_exactly(total):
    sizes = first_of(np.array([2, 0, 3, 1, 5]), total)
    assert np.maximum(sizes, 1).sum() == total


def test_what_is_replaced_is_what_a_loop_replaces():
    ids = np.arange(100, 110)
    for draws in DRAWS[:100]:
        spans = scattered(draws, 10, np.array([2, 0, 3]))
        by, expected, at = [1, 2, 3], [], 0
        for start, size, one in zip(*spans, by, strict=True):
            expected += [*ids[at:start], one]
            at = start + size
        assert spans.replaced(ids, np.array(by)).tolist() == [*expected, *ids[at:]]


def test_no_spans_leave_a_row_as_it_is():
    nothing = np.zeros(0, np.int64)
    assert Spans(nothing, nothing).replaced(np.arange(3), nothing).tolist() == [0, 1, 2]
