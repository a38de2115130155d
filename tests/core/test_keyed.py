"""Keyed randomness: functions of their keys, uniform, independent."""

import numpy as np
from scipy import stats

from lathe.core.keyed import permutation, row_keys, row_seeds, uniform


def test_a_row_draws_the_same_whatever_rows_are_beside_it():
    keys = row_keys("digest", 10)
    together = uniform(row_seeds(3, 1, keys), "mask", 7)
    alone = uniform(row_seeds(3, 1, keys[4:5]), "mask", 7)
    assert np.array_equal(together[4:5], alone)


def test_a_longer_row_begins_with_the_draws_of_a_shorter_one():
    seeds = row_seeds(0, 0, row_keys("digest", 3))
    assert np.array_equal(uniform(seeds, "mask", 9)[:, :5], uniform(seeds, "mask", 5))


def test_draws_differ_by_seed_epoch_row_and_purpose():
    keys = row_keys("digest", 4)
    draws = [uniform(row_seeds(seed, epoch, keys), purpose, 50)
             for seed in (0, 1) for epoch in (0, 1) for purpose in ("mask", "token")]  # fmt: skip
    assert len(np.unique(np.concatenate([d.ravel() for d in draws]))) == 8 * 4 * 50


def test_draws_are_uniform_and_uncorrelated():
    draws = uniform(row_seeds(0, 0, row_keys("digest", 400)), "mask", 250)
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.01


def test_a_permutation_is_one_and_depends_on_its_key():
    assert sorted(permutation(100, "a", 1)) == list(range(100))
    assert not np.array_equal(permutation(100, "a", 1), permutation(100, "a", 2))
