"""Intervals by the bootstrap."""

import numpy as np
import pytest
import scipy.stats

from distill.bootstrap import Estimate, bootstrap, bootstrap_mean


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(1).exponential(size=400)
    found = bootstrap_mean(values, rounds=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert found.n == 400
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


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
    nothing = bootstrap(lambda _: float("nan"), 3)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_figures_change_their_unit_with_their_intervals():
    assert Estimate(0.5, 0.25, 0.75, 7).scaled(100) == Estimate(50, 25, 75, 7)
