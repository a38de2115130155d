"""Plans, cuts and streams of steps."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.batches import EncodedRows, Plan, StepSize, ahead, batches, cut, pad_rows
from lathe.core.keyed import row_keys
from lathe.core.types import Symbols
from lathe.objectives import MaskedLM

SYMBOLS = Symbols(pad=0, mask=4, size=30, special=(0, 1, 2, 3, 4))
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(lambda values: np.array(values, np.int64))
SIZES = st.builds(StepSize, st.integers(1, 50), st.sampled_from(["rows", "tokens"]))


def source(lengths):
    return EncodedRows([{"input_ids": [5 + i % 20] * n} for i, n in enumerate(lengths)], row_keys("d", len(lengths)))


def tokens_of(batch):
    """Of each row: what the model sees and what it shall say, without the padding."""
    tensors = (batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.targets["labels"])
    return [(ids[mask == 1].tolist(), labels[mask == 1].tolist()) for ids, mask, labels in zip(*tensors, strict=True)]


@given(LENGTHS, SIZES, st.integers(0, 3), st.integers(1, 4))
def test_every_row_is_in_exactly_one_step_of_an_epoch(lengths, size, epoch, window):
    steps = Plan(lengths, size, seed=1, window=window).epoch(epoch)
    assert sorted(np.concatenate(steps)) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 50))
def test_no_slice_is_heavier_than_the_capacity_unless_it_is_one_item(lengths, capacity):
    slices = cut(lengths, capacity)
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(len(lengths)))
    assert all(lengths[s].sum() <= capacity or s.stop - s.start == 1 for s in slices)


@given(LENGTHS, SIZES, st.integers(0, 12))
def test_a_run_that_goes_on_sees_the_steps_of_an_unbroken_one(lengths, size, start):
    plan = Plan(lengths, size, seed=5)
    unbroken = list(islice(plan.steps(), 15))[start:]
    resumed = list(islice(plan.steps(start), 15 - start))
    assert [e for e, _ in unbroken] == [e for e, _ in resumed]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(unbroken, resumed, strict=True))


@given(LENGTHS, st.integers(1, 80))
def test_the_cut_changes_neither_rows_nor_masks(lengths, tokens_per_batch):
    plan = Plan(lengths, StepSize(len(lengths)), seed=2)
    whole = next(batches(source(lengths), MaskedLM(), SYMBOLS, plan, 10**9))
    parts = next(batches(source(lengths), MaskedLM(), SYMBOLS, plan, tokens_per_batch))
    (one,) = whole.micro
    assert [row for batch in parts.micro for row in tokens_of(batch)] == tokens_of(one)
    assert sum(b.items["masked"] for b in parts.micro) == one.items["masked"]


def test_epochs_are_shuffled_anew_and_a_fraction_counts_whole_steps():
    plan = Plan(np.full(10, 3), StepSize(3), seed=0)
    assert not np.array_equal(np.concatenate(plan.epoch(0)), np.concatenate(plan.epoch(1)))
    assert (plan.count(1), plan.count(2), plan.count(0.5), plan.count(1.5)) == (4, 8, 2, 6)


def test_a_window_makes_steps_of_like_length():
    plan = Plan(np.arange(1, 101), StepSize(10), seed=0, window=10)
    assert max(np.ptp(plan.lengths[step]) for step in plan.epoch(0)) == 9


def test_padding_is_on_the_right_and_masked():
    ids, mask = pad_rows([{"input_ids": [7]}, {"input_ids": [8, 9, 9]}], SYMBOLS)
    assert ids.tolist() == [[7, 0, 0], [8, 9, 9]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_ahead_gives_the_same_items_and_raises_what_was_raised():
    assert list(ahead(iter(range(20)))) == list(range(20))

    def breaks():
        yield 1
        raise ValueError("broken row")

    with pytest.raises(ValueError, match="broken row"):
        list(ahead(breaks()))


def test_ahead_can_be_left_early():
    stream = ahead(iter(range(10**9)))
    assert next(stream) == 0
    stream.close()
