"""Kinds of templates: leaders as an obvious search finds them, and the threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.heads.similar_templates import chance_cosine, leaders
from encoder.heads.scoring import unit_vectors


def unit(n, dim=5, seed=0):
    return unit_vectors(np.random.default_rng(seed).normal(size=(n, dim)))


@given(st.integers(1, 700), st.floats(-1, 1), st.integers(0, 1 << 20))
def test_each_joins_the_nearest_leader_before_it(n, threshold, seed):
    vectors, kinds = unit(n, seed=seed), np.random.default_rng(seed).random(n) < 0.1
    found = leaders(vectors, threshold, kinds).tolist()
    for k, leader in enumerate(found):
        before = [one for one in range(k) if found[one] == one]
        cosines = vectors[before] @ vectors[k]
        if leader == k:
            assert kinds[k] or not before or cosines.max() < threshold + 1e-6
        else:
            assert found[leader] == leader < k
            assert not kinds[k]
            assert vectors[leader] @ vectors[k] == pytest.approx(max(cosines), abs=1e-6)
            assert max(cosines) > threshold - 1e-6


@pytest.mark.parametrize("n", [1, 2, 40, 100, 1700])
def test_one_in_a_thousand_pairs_is_nearer_than_chance(n):
    vectors = unit(n, 16)
    cosines = (vectors @ vectors.T)[np.triu_indices(n, 1)]
    above = (cosines >= chance_cosine(vectors)).sum()
    assert above == pytest.approx(len(cosines) // 1000, rel=0.2 if n > 1500 else 0)
