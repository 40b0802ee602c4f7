"""Cosines and nearest neighbours."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from distill.evaluation import cosines
from distill.evaluation.cosines import nearest, unit


def test_lengths_become_one_and_zeros_stay():
    found = unit(np.array([[3, 4], [0, 0]], np.int8))
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_neighbours_are_scikit_learns_over_several_blocks(monkeypatch):
    monkeypatch.setattr(cosines, "_MAX_COSINES", 700 * 2500)
    rows = np.random.default_rng(0).standard_normal((2500, 12), np.float32)
    theirs = NearestNeighbors(n_neighbors=4, metric="cosine").fit(rows)
    distances, numbers = theirs.kneighbors(rows[:1500])
    found, near = nearest(rows[:1500], rows, 4)
    assert (found == numbers).mean() > 0.999  # nearly equal cosines may change places
    assert near == pytest.approx(1 - distances, abs=1e-5)


def test_a_row_is_not_its_own_neighbour_where_that_is_asked():
    rows = np.random.default_rng(1).standard_normal((1100, 5), np.float32)
    found, _ = nearest(rows, rows, 1100, exclude_self=True)
    assert found.shape == (1100, 1099)
    assert not (found == np.arange(1100)[:, None]).any()


def test_of_equal_ones_the_first_comes_first():
    found, _ = nearest(np.array([[1.0, 0]]), np.array([[0, 1.0], [2, 0], [1, 0]]), 2)
    assert found.tolist() == [[1, 2]]
