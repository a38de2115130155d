"""Plans that take turns."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.batches import EncodedRows, Joined, Plan, StepSize, batches
from lathe.core.keyed import row_keys
from lathe.core.parallel import Ranks
from lathe.core.turns import BLOCK, Turns, shares
from lathe.core.types import Batch, Symbols

SYMBOLS = Symbols(pad=0, mask=4, size=30, special=(0, 1, 2, 3, 4))
COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def turns(counts, size=8, seed=0, temperature=2.0):
    plans = tuple(Plan(1 + np.arange(count) % 7, StepSize(size), seed, 4) for count in counts)
    return Turns(plans, tuple(shares(counts, temperature, [1.0] * len(counts)).tolist()))


class Told:
    """An objective whose batches are the numbers of their rows."""

    def collate(self, rows, seeds, symbols):
        return Batch({}, {}, {"rows": len(rows)} | {str(row["number"]): 1 for row in rows})


def test_shares_are_tempered_counts_times_weights():
    rows, weights = [100, 1600, 900], [1.0, 2.0, 0.5]
    for tau in (1.0, 2.0, 5.0):
        expected = [w * n ** (1 / tau) for n, w in zip(rows, weights, strict=True)]
        assert shares(rows, tau, weights).tolist() == pytest.approx([one / sum(expected) for one in expected])
    assert shares(rows, 1e9, [1, 1, 1]).tolist() == pytest.approx([1 / 3] * 3)


def test_the_steps_of_each_plan_are_as_many_as_its_share_within_what_chance_allows():
    plan, steps = turns([400, 25, 100]), 20_000
    for seed in range(3):
        drawn = turns([400, 25, 100], seed=seed).drawn(0, steps)
        found = np.bincount(drawn, minlength=3) / steps
        deviation = np.sqrt(np.array(plan.shares) * (1 - np.array(plan.shares)) / steps)
        assert (np.abs(found - plan.shares) < 4 * deviation).all()
    assert (turns([1, 1], seed=1).drawn(0, 50) != turns([1, 1], seed=2).drawn(0, 50)).any()


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 3))
def test_one_plan_alone_takes_the_steps_that_it_takes_by_itself(count, size, seed):
    alone, mixed = turns([count], size, seed).plans[0], turns([count], size, seed)
    for (epoch, rows), (other, same) in islice(zip(alone.steps(), mixed.steps(), strict=True), 20):
        assert epoch == other and rows.tolist() == same.tolist()
    assert [mixed.count(epochs) for epochs in (1, 2.5)] == [alone.count(epochs) for epochs in (1, 2.5)]


@settings(max_examples=25)
@given(COUNTS, st.integers(0, 30), st.integers(0, 2))
def test_each_plan_takes_its_own_steps_in_order_and_a_run_that_goes_on_sees_those_of_an_unbroken_one(
    counts, start, seed
):
    plan, first = turns(counts, seed=seed), np.cumsum([0, *counts])
    steps = list(islice(plan.steps(), 40))
    for number, own in enumerate(plan.plans):
        mine = [(epoch, rows - first[number]) for epoch, rows in steps if first[number] <= rows[0] < first[number + 1]]
        for (epoch, rows), (other, same) in zip(mine, own.steps(), strict=False):
            assert epoch == other and rows.tolist() == same.tolist()
    resumed = list(islice(plan.steps(start), 40 - start)) if start < 40 else []
    assert [(e, r.tolist()) for e, r in resumed] == [(e, r.tolist()) for e, r in steps[start:]]


def test_a_run_that_goes_on_in_a_later_block_sees_the_same_steps():
    plan = turns([30, 20])
    unbroken = list(islice(plan.steps(), BLOCK + 20))
    for start in (BLOCK - 3, BLOCK, BLOCK + 5):
        resumed = list(islice(plan.steps(start), BLOCK + 20 - start))
        assert [rows.tolist() for _, rows in resumed] == [rows.tolist() for _, rows in unbroken[start:]]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("tokens", [7, 1000])
def test_a_step_has_the_same_rows_for_any_number_of_ranks_and_any_cut(ranks, tokens):
    counts = [20, 11]
    plan, sources = turns(counts), []
    for number, own in enumerate(plan.plans):
        rows = [{"input_ids": [5] * int(n), "number": 100 * number + i} for i, n in enumerate(own.lengths)]
        sources.append(EncodedRows(rows, row_keys(str(number), len(rows))))
    source = Joined(sources)
    seen: list[list[str]] = []
    streams = [batches(source, Told(), SYMBOLS, plan, tokens, ranks=Ranks(rank, ranks)) for rank in range(ranks)]
    for together in islice(zip(*streams, strict=True), 15):
        seen.append(sorted(name for one in together for batch in one.micro for name in batch.items if name != "rows"))
    rows = [sorted(str(source[int(i)]["number"]) for i in rows) for _, rows in islice(plan.steps(), 15)]
    assert seen == rows
    assert all(len({int(name) // 100 for name in step}) == 1 for step in seen)


def test_rows_of_like_length_are_gathered_within_each_plan():
    gathered = turns([30, 20]).gathered(9)
    assert [plan.window for plan in gathered.plans] == [9, 9] and gathered.shares == turns([30, 20]).shares
