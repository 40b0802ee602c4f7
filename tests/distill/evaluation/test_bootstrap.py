"""Intervals by the bootstrap."""

import numpy as np
import pytest
import scipy.stats

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_error, bootstrap_mean


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(1).exponential(size=400)
    found = bootstrap_mean(values, rounds=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert found.n == 400
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize("n_right", [0, 1, 37, 40])
def test_the_interval_of_a_share_has_a_width_even_if_all_are_right(n_right):
    found = bootstrap_mean(np.arange(40) < n_right)
    theirs = scipy.stats.binomtest(n_right, 40).proportion_ci(method="wilson")
    assert (found.value, found.n) == (n_right / 40, 40)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.low <= found.value <= found.high
    assert found.high - found.low > 0.05


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = bootstrap_mean(random.normal(3, 1, 60), rounds=300, seed=int(random.integers(1 << 30)))
        held += found.low <= 3 <= found.high
    assert 178 <= held <= 199  # of 200, 95 of 100


def test_the_same_seed_gives_the_same_interval_and_another_seed_another_one():
    values = np.arange(50.0)
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)


def test_any_statistic_of_rows_has_an_interval():
    values = np.array([0, 0, 0, 0, 10.0])
    found = bootstrap(lambda rows: float(np.median(values[rows])), 5)
    assert (found.value, found.low, found.high) == (0, 0, 10)


def test_resamples_without_a_figure_are_left_out():
    found = bootstrap(lambda rows: 1.0 if len(set(rows)) > 2 else float("nan"), 4)
    assert found == Estimate(1, 1, 1, 4)
    for estimate in (bootstrap, bootstrap_error):
        nothing = estimate(lambda _: float("nan"), 3)
        assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_an_error_is_inside_its_interval_and_nearer_to_the_truth_than_that_of_the_records():
    groups, size, off = 15, 20, np.linspace(0, 0.5, 15)
    found, plain = [], []
    for seed in range(100):
        values = np.random.default_rng(seed).normal(off[:, None], 1, (groups, size)).ravel()

        def error(rows, values=values):
            means = np.bincount(rows // size, values[rows], groups) / np.bincount(rows // size, None, groups)
            return float(np.abs(means).mean())

        found.append(bootstrap_error(error, groups * size, rounds=100, seed=seed))
        plain.append(error(np.arange(groups * size)))
        assert 0 <= found[-1].low <= found[-1].value <= found[-1].high
    truth = off.mean()
    assert abs(np.mean([one.value for one in found]) - truth) < abs(np.mean(plain) - truth) / 2
    assert sum(one.low <= truth <= one.high for one in found) > 80  # of 100


def test_an_error_is_never_below_zero():
    assert bootstrap_error(lambda rows: 0.1 * (len(set(rows)) < 50), 50) == Estimate(0, 0, 0, 50)


def test_figures_change_their_unit_with_their_intervals():
    assert Estimate(0.5, 0.25, 0.75, 7).scaled(100) == Estimate(50, 25, 75, 7)
