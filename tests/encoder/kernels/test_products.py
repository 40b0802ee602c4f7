"""Products against NumPy's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoder.kernels.products import products


def drawn(n, n_directions, dim, seed):
    random = np.random.default_rng(seed)
    shapes = ((n, dim), (n_directions, dim), (n_directions,))
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def products_of(vectors, directions, offsets):
    out = np.full((len(directions), len(vectors)), np.nan, np.float32)
    products(vectors, directions, offsets, out)
    return out


@given(n=st.integers(0, 20), n_directions=st.integers(1, 9), dim=st.integers(1, 300), seed=st.integers(0, 99))
def test_they_are_those_of_a_matrix_product(n, n_directions, dim, seed):
    vectors, directions, offsets = drawn(n, n_directions, dim, seed)
    expected = directions.astype(np.float64) @ vectors.T + offsets[:, None]
    np.testing.assert_allclose(products_of(vectors, directions, offsets), expected, rtol=1e-5, atol=1e-4)


def test_a_vector_has_the_same_bits_in_any_batch():
    vectors, directions, offsets = drawn(101, 7, 256, 1)
    whole = products_of(vectors, directions, offsets)
    alone = [products_of(vectors[r : r + 1], directions, offsets) for r in range(len(vectors))]
    assert np.array_equal(whole, np.concatenate(alone, axis=1))
