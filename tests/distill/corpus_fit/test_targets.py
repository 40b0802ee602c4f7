"""Principal axes and targets."""

import numpy as np
import pytest

from distill.corpus_fit.targets import Targets, principal_axes
from distill.teacher.vector_cache import TeacherVectors


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((9000, 12)) * np.linspace(3, 0.2, 12) + 1  # not centred; more than one block
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return TeacherVectors(rows.astype(np.float16), rng.permutation(9000))


def test_axes_are_the_right_singular_vectors(vectors):
    axes = principal_axes(vectors, 5)
    _, _, expected = np.linalg.svd(vectors[:], full_matrices=False)
    assert axes.shape == (12, 5)
    np.testing.assert_allclose(np.abs((axes * expected[:5].T).sum(axis=0)), 1, atol=1e-4)
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(5)] > 0).all()


@pytest.mark.parametrize(("dims", "k"), [(None, 12), (99, 12), (3, 3)])
def test_dimensions(vectors, dims, k):
    assert principal_axes(vectors, dims).shape == (12, k)


def test_a_share_keeps_as_many_axes_as_it_needs(vectors):
    squares = np.linalg.svd(vectors[:], compute_uv=False) ** 2
    shares = np.cumsum(squares) / squares.sum()
    k = principal_axes(vectors, 0.9).shape[1]
    assert shares[k - 2] < 0.9 <= shares[k - 1]


def test_all_axes_keep_all_cosines_and_targets_have_length_1(vectors):
    whole = Targets(vectors, principal_axes(vectors, None))[:200]
    expected = vectors[:200] / np.linalg.norm(vectors[:200], axis=1, keepdims=True)
    np.testing.assert_allclose(whole @ whole.T, expected @ expected.T, atol=1e-5)
    few = Targets(vectors, principal_axes(vectors, 3))
    assert (few.dim, len(few)) == (3, 9000)
    np.testing.assert_allclose(np.linalg.norm(few[100:300], axis=1), 1, atol=1e-5)
