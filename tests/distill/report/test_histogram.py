"""Variance over dimensions, weight over frequency."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from distill.report.histogram import component_shares, dimension_shares, length_classes, token_lengths
from encoder.model import StaticModel


def test_component_shares_are_those_of_a_pca():
    vectors = np.random.default_rng(0).standard_normal((200, 8)) * np.arange(1, 9)
    expected = np.cumsum(PCA().fit(vectors).explained_variance_ratio_)
    assert component_shares(vectors) == pytest.approx(expected)


def test_dimension_shares_follow_the_dimensions_order():
    vectors = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])
    assert dimension_shares(vectors) == pytest.approx([0.1, 1])
    assert dimension_shares(np.ones((3, 2))).tolist() == [1, 1]


def test_lengths_hold_weights_and_mapping_and_have_the_mean_one():
    table = np.array([[3.0, 4], [0, 1]], np.float32)
    assert token_lengths(StaticModel(table, "{}")) == pytest.approx(np.array([5, 1]) / 3)
    shared = StaticModel(table, "{}", weights=np.array([1.0, 2, 4]), mapping=np.array([0, 0, 1]))
    assert token_lengths(shared) == pytest.approx(np.array([5, 10, 4]) / (19 / 3))


def test_classes_double_and_leave_out_what_never_comes():
    classes = length_classes(np.array([9.0, 1, 2, 3, 7]), np.array([0, 1, 2, 3, 8]))
    assert [(each.n_tokens, each.median) for each in classes] == [(1, 1), (2, 2.5), (1, 7)]
    assert classes[1].frequency == pytest.approx(2**1.5)
    assert classes[1].low < classes[1].median < classes[1].high
