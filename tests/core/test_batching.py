"""Batching: what waits is answered together, each row by itself, in turns, and never without an end."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.batching import UNSURE, Batcher, Busy, Late, Pace


class Model:
    """Twice each row; notes its batches, and waits where it is told to."""

    def __init__(self):
        self.batches, self.goes_on = [], threading.Event()
        self.goes_on.set()
        self.runs = threading.Event()

    def __call__(self, rows):
        self.runs.set()
        self.goes_on.wait(10)
        self.batches.append(list(rows))
        if "bad" in rows:
            raise ValueError("bad")
        return [row * 2 for row in rows]

    def hold(self, batcher):
        """Keep the batcher busy with a row, while others come."""
        self.goes_on.clear()
        self.runs.clear()
        first = batcher.submit(self, ["first"], [1])
        assert self.runs.wait(10)
        return first


@pytest.fixture
def model():
    return Model()


@given(st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=8), st.integers(1, 20))
def test_every_request_gets_its_own_answers_in_order(requests, tokens):
    with Batcher(tokens) as batcher:
        found = [
            batcher.submit(lambda rows: [2 * row for row in rows], sizes, sizes, key=str(n % 3))
            for n, sizes in enumerate(requests)
        ]
        assert [one.result(10) for one in found] == [[2 * size for size in sizes] for sizes in requests]
        assert batcher.waiting == 0


def test_what_waits_goes_together_up_to_the_tokens_of_a_batch_the_longest_of_a_request_first(model):
    with Batcher(tokens=10) as batcher:
        model.hold(batcher)
        found = [
            batcher.submit(model, [3, 1, 2], [3, 1, 2]),
            batcher.submit(model, [4], [4]),
            batcher.submit(model, [20], [20]),
        ]
        assert batcher.waiting == 30
        model.goes_on.set()
        assert [one.result(10) for one in found] == [[6, 2, 4], [8], [40]]
    assert model.batches == [["first"], [3, 2, 1, 4], [20]]


def test_keys_take_turns_row_by_row(model):
    with Batcher(tokens=4) as batcher:
        model.hold(batcher)
        hog = batcher.submit(model, [1] * 8, [1] * 8, key="hog")
        other = batcher.submit(model, [7, 7], [1, 1], key="other")
        model.goes_on.set()
        other.result(10), hog.result(10)
    assert [sorted(batch) for batch in model.batches[1:3]] == [[1, 1, 7, 7], [1, 1, 1, 1]]


def test_other_work_is_another_batch(model):
    other = Model()
    with Batcher() as batcher:
        model.hold(batcher)
        found = [batcher.submit(one, [1], [1]) for one in (model, other, model)]
        model.goes_on.set()
        assert [one.result(10) for one in found] == [[2]] * 3
    assert model.batches[1:] == [[1, 1]]
    assert other.batches == [[1]]


def test_a_full_queue_refuses_at_once_and_an_empty_one_takes_any(model):
    with Batcher(waiting_tokens=10) as batcher:
        model.hold(batcher)
        large = batcher.submit(model, [1], [50])
        with pytest.raises(Busy) as refused:
            batcher.submit(model, [1], [1])
        assert refused.value.retry_s > 0
        model.goes_on.set()
        assert large.result(10) == [2]


def test_one_key_cannot_fill_the_queue(model):
    with Batcher(waiting_tokens=10, share_ratio=0.5) as batcher:
        model.hold(batcher)
        batcher.submit(model, [1], [4], key="hog")
        with pytest.raises(Busy):
            batcher.submit(model, [1], [2], key="hog")
        batcher.submit(model, [1], [4], key="other")
        model.goes_on.set()


def test_a_row_that_fails_fails_its_own_request_alone(model):
    with Batcher() as batcher:
        model.hold(batcher)
        good, bad = batcher.submit(model, [1, 2], [1, 1]), batcher.submit(model, ["bad"], [1])
        model.goes_on.set()
        assert good.result(10) == [2, 4]
        with pytest.raises(ValueError, match="bad"):
            bad.result(10)


def test_rows_that_nobody_waits_for_are_left_out(model):
    with Batcher() as batcher:
        model.hold(batcher)
        left = batcher.submit(model, ["left"], [5])
        late = batcher.submit(model, ["late"], [5], timeout_s=0.0)
        assert left.cancel()
        time.sleep(0.01)
        model.goes_on.set()
        with pytest.raises(Late):
            late.result(10)
        assert batcher.submit(model, [1], [1]).result(10) == [2]
        assert batcher.waiting == 0
    assert model.batches == [["first"], [1]]


def test_rows_wait_for_others_where_they_are_told_to(model):
    with Batcher(tokens=3, hold_s=60) as batcher:
        found = [batcher.submit(model, [n], [1]) for n in range(3)]
        assert [one.result(10) for one in found] == [[0], [2], [4]]
    assert model.batches == [[0, 1, 2]]


def test_a_closed_one_cancels_what_waits_and_takes_no_more(model):
    batcher = Batcher()
    first = model.hold(batcher)
    waits = batcher.submit(model, [1], [1])
    closing = threading.Thread(target=batcher.close)
    closing.start()
    model.goes_on.set()
    closing.join(10)
    assert first.result(0) == ["firstfirst"]
    assert waits.cancelled()
    with pytest.raises(RuntimeError):
        batcher.submit(model, [1], [1])


def test_the_pace_is_the_line_through_what_was_measured():
    pace = Pace()
    for _ in range(UNSURE):
        assert pace.seconds(10) is None
        pace.note(10, 100.0)  # what runs first says nothing
    for tokens in (10, 40, 25, 100, 60):
        pace.note(tokens, 0.01 + 0.002 * tokens)
    assert pace.seconds(50) == pytest.approx(0.11)
    assert pace.seconds(200) == pytest.approx(0.41)


def test_batches_of_one_size_are_taken_to_cost_by_the_token():
    pace = Pace()
    for _ in range(10):
        pace.note(25, 0.01)
    assert pace.seconds(50) == pytest.approx(0.02)


def test_batches_that_are_faster_when_larger_are_not_believed():
    pace = Pace()
    for _ in range(3 * UNSURE):
        pace.note(10, 0.02)
        pace.note(100, 0.01)
    assert pace.seconds(1000) == pytest.approx(pace.seconds(0))
    assert pace.seconds(0) > 0


def test_what_would_be_answered_too_late_is_refused(model):
    with Batcher(tokens=100, wait_s=0.5) as batcher:
        for _ in range(UNSURE + 1):
            batcher._pace.note(10, 1.0)
        model.hold(batcher)
        batcher.submit(model, [1], [10])  # an empty queue takes any
        with pytest.raises(Busy) as refused:
            batcher.submit(model, [1], [10])
        assert refused.value.retry_s >= 1
        assert batcher.is_full("", 1)
        model.goes_on.set()


def test_rows_that_are_being_read_keep_others_out_until_they_are_withdrawn(model):
    with Batcher(waiting_tokens=10) as batcher:
        withdraw = batcher.announce(8)
        assert not batcher.is_full("", 2)
        assert batcher.is_full("", 3)
        withdraw()
        withdraw()
        assert not batcher.is_full("", 10)
        assert batcher.submit(model, [1], [10]).result(10) == [2]
