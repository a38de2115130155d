"""What a trial's steps say of a whole run."""

import numpy as np
import pytest

from lathe.core.trial import Trial


def trial(seconds, tokens, cold=0) -> Trial:
    return Trial(tuple(seconds), tuple(tokens), cold, 0, 0.0)


def test_a_run_that_the_trial_covers_takes_what_was_seen():
    assert trial([3.0, 1.0, 1.0], [5, 5, 5], cold=1).whole_run(np.array([5, 5, 5])) == 5.0


def test_equal_steps_take_their_mean_and_the_slow_start_is_paid_once():
    assert trial([3.0, 1.0, 1.0, 1.0], [5] * 4, cold=1).whole_run(np.array([5] * 100)) == pytest.approx(102.0)


def test_steps_of_different_sizes_go_by_a_line():
    seen = np.array([10, 40, 20, 30])
    run = np.tile([10, 20, 60, 100], 5)
    assert trial(0.5 + 0.1 * seen, seen).whole_run(run) == pytest.approx((0.5 + 0.1 * run).sum())


def test_more_tokens_never_take_less_time():
    assert trial([4.0, 2.0], [10, 30]).whole_run(np.array([10, 30, 90])) == pytest.approx(9.0)
