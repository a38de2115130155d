"""Plans, cuts and streams of steps."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.batches import (
    EncodedRows,
    Joined,
    Phased,
    Plan,
    Replay,
    StepSize,
    Stretch,
    ahead,
    batches,
    cut,
    pad_rows,
)
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


def test_a_share_of_each_epoch_is_old_and_old_rows_take_turns():
    lengths = np.full(20, 3)  # 12 new rows, 8 old ones
    plan = Plan(lengths, StepSize(4), seed=0, replay=Replay(12, 3))
    epochs = [np.concatenate(plan.epoch(epoch)) for epoch in range(8)]
    assert all(sorted(rows[rows < 12]) == list(range(12)) and len(rows) == 15 for rows in epochs)
    turns = np.concatenate([np.sort(rows[rows >= 12]) for rows in epochs])
    assert np.bincount(turns, minlength=20)[12:].tolist() == [3] * 8
    assert plan.count(2) == sum(len(plan.epoch(epoch)) for epoch in range(2))


def test_smaller_steps_at_the_beginning_take_the_same_rows_in_the_same_order():
    lengths = np.arange(1, 41)
    plan = Plan(lengths, StepSize(100, "tokens"), seed=1)
    early = Stretch(plan, 0, 3, StepSize(30, "tokens"))
    phased = Phased(lengths, (early, Stretch(plan, 3, 5, plan.size)))
    whole = [rows for _, rows in islice(plan.steps(), 8)]
    cut = [rows for _, rows in islice(phased.steps(), phased.total)]
    assert np.concatenate(cut).tolist() == np.concatenate(whole).tolist()
    assert phased.total == early.count() + 5 > 8
    assert all(lengths[rows].sum() <= 30 or len(rows) == 1 for rows in cut[: early.count()])


def test_stretches_go_on_from_any_step():
    short, long = np.full(30, 4), np.full(10, 12)
    size = StepSize(24, "tokens")
    stretches = (
        Stretch(Plan(short, size, 0), 0, 3, StepSize(8, "tokens")),
        Stretch(Plan(long, size, 0), 0, 9, size, 30),
    )
    phased = Phased(np.concatenate([short, long]), stretches)
    everything = [(epoch, rows.tolist()) for epoch, rows in islice(phased.steps(), 25)]
    for start in (0, 5, 9, 20):
        again = [(epoch, rows.tolist()) for epoch, rows in islice(phased.steps(start), 25 - start)]
        assert again == everything[start:]
    assert all(min(rows) >= 30 for _, rows in everything[9:])


def test_rows_of_joined_sources_are_those_of_each():
    first, second = (EncodedRows([{"input_ids": [n] * n} for n in numbers], row_keys(name, len(numbers)))
                     for name, numbers in (("a", [1, 2]), ("b", [3, 4, 5])))  # fmt: skip
    joined = Joined((first, second))
    assert [len(joined[n]["input_ids"]) for n in range(len(joined))] == joined.lengths.tolist() == [1, 2, 3, 4, 5]
    assert joined.keys.tolist() == [*first.keys.tolist(), *second.keys.tolist()]
