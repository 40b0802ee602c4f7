"""Agreement with a reference."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics.pairwise

from distill.evaluation import agreement
from distill.evaluation.agreement import neighbour_overlap, rank_correlation
from encoder.errors import InputError


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


@pytest.mark.slow
def test_a_model_agrees_with_itself_turned_and_scaled(rows):
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    for figure in (neighbour_overlap, rank_correlation):
        found = figure(rows, 3 * rows @ turn)
        assert found.value == pytest.approx(1, abs=1e-3)
        assert found.low <= found.value + 1e-9
        assert found.n == 300


@pytest.mark.slow
def test_a_random_model_shares_as_many_neighbours_as_chance(rows):
    other = np.random.default_rng(2).standard_normal((300, 20))
    assert neighbour_overlap(rows, other).value == pytest.approx(10 / 299, abs=0.01)
    assert abs(rank_correlation(rows, other).value) < 0.03


def test_overlap_counts_shared_neighbours():
    ours = np.array([[1, 0], [1, 0.1], [1, 0.3], [0, 1]])
    theirs = np.array([[1, 0], [1, 0.1], [0, 1], [1, 0.3]])
    shared = [1, 1, 0, 0]  # the nearest of 0 is 1 and of 1 is 0 in both
    assert neighbour_overlap(ours, theirs, 1).value == np.mean(shared)


@pytest.mark.slow
def test_the_correlation_of_all_pairs_is_scipys_and_lies_in_its_interval(rows):
    noisy = rows + np.random.default_rng(3).standard_normal(rows.shape)
    upper = np.triu_indices(300, 1)
    cosines = [sklearn.metrics.pairwise.cosine_similarity(x)[upper] for x in (rows, noisy)]
    expected = scipy.stats.spearmanr(*cosines).statistic
    found = rank_correlation(rows, noisy)
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert found.low < found.value < found.high


@pytest.mark.slow
def test_with_many_texts_the_pairs_of_the_first_ones_are_counted(rows, monkeypatch):
    noisy = rows + np.random.default_rng(3).standard_normal(rows.shape)
    expected = rank_correlation(rows[:120], noisy[:120])
    monkeypatch.setattr(agreement, "_MAX_TEXTS", 120)
    assert rank_correlation(rows, noisy) == expected


def test_too_few_texts_are_refused():
    with pytest.raises(InputError, match="10 texts are too few for 10 neighbours"):
        neighbour_overlap(np.ones((10, 2)), np.ones((10, 2)))
