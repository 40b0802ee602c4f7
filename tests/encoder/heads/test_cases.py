"""Known cases: the nearest ones, exactly, in any batch; their votes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.heads.cases import Cases, Known, Strings
from encoder.heads.scoring import Heads, unit_vectors


def unit(n, dim, seed=0):
    return unit_vectors(np.random.default_rng(seed).normal(size=(n, dim)))


def cases(n=50, dim=16, *, threshold=-1.0, nearest=1, n_labels=3, seed=0, name="known"):
    labels = tuple(f"l{k}" for k in range(n_labels))
    label = np.arange(n, dtype=np.int32) % n_labels
    ids = Strings.of([f"case-{k}é" for k in range(n)])
    return Cases(name, ids, labels, label, unit(n, dim, seed).astype(np.float16), threshold, nearest)


@given(
    n=st.integers(1, 70),
    n_cases=st.integers(1, 90),
    dim=st.integers(1, 70),
    count=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
)
def test_the_nearest_cases_are_those_of_an_exact_search(n, n_cases, dim, count, seed):
    head = cases(n_cases, dim, seed=seed)
    vectors, count = unit(n, dim, seed + 1), min(count, n_cases)
    found = head.search(vectors, count)
    cosines = vectors @ head.vectors.astype(np.float32).T
    expected = -np.sort(-cosines, axis=1)[:, :count]
    np.testing.assert_allclose(found.similarity, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(cosines, found.case, axis=1), found.similarity, atol=1e-6)
    assert all(len(set(row)) == count for row in found.case.tolist())


def test_cases_that_are_not_near_enough_are_none():
    head = cases(20, 8, threshold=0.9, nearest=3)
    outcome = head.outcome(np.concatenate([head.vectors[4:5], 0 * head.vectors[4:5]]).astype(np.float32))
    assert outcome.case[0, 0] == 4
    assert outcome.similarity[0, 0] == pytest.approx(1, abs=1e-3)
    assert outcome.case[1].tolist() == [-1, -1, -1]
    assert outcome.similarity[1].tolist() == [0, 0, 0]
    assert cases(2, 8, nearest=7).outcome(unit(5, 8)).case.shape == (5, 2)


def test_cases_are_scored_beside_other_heads():
    one, other = cases(30, 16, nearest=2, name="a"), cases(20, 16, name="z")
    vectors = unit(11, 16, 3)
    found = Heads([other, one])(vectors)
    for mine, head in zip(found, (one, other), strict=True):
        np.testing.assert_array_equal(mine.case, head.outcome(vectors).case)
    longer = Heads([other, one], unit=False)(vectors * 3)
    np.testing.assert_array_equal(longer[0].case, found[0].case)


def test_votes_are_weighted_by_similarity():
    labels = np.array([0, 1, 1, 2], np.int32)
    known = Known(
        np.array([[0, 1, 2], [0, 1, -1], [3, -1, -1], [-1, -1, -1], [1, 0, -1]], np.int32),
        np.array([[0.9, 0.5, 0.5], [0.9, 0.5, 0.1], [0.8, 0.1, 0], [0.2, 0.1, 0], [0.5, 0.5, 0]], np.float32),
    )
    label, share = known.votes(labels, 3)
    assert label.tolist() == [1, 0, 2, -1, 0]  # of equals the first label
    np.testing.assert_allclose(share, [1 / 1.9, 0.9 / 1.4, 1, 0, 0.5], rtol=1e-6)


def test_strings_are_given_back():
    texts = ["", "é", "a" * 300, "中文", ""]
    assert Strings.of(texts).tolist() == texts
    assert Strings.of([]).tolist() == []
