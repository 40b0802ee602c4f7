"""Principal components, weights, clusters and number formats, against slow and obvious references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from distill.table import as_dtype, cluster, principal_components, sif_weights
from encoder.errors import ConfigurationError


def some_vectors(n_rows=200, n_features=12, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n_rows, n_features)) * np.arange(1, n_features + 1) + 3).astype(np.float32)


@given(st.integers(1, 12), st.integers(0, 50))
def test_principal_components_are_those_of_scikit_learn_up_to_the_sign(dims, seed):
    vectors = some_vectors(seed=seed)
    ours, theirs = principal_components(vectors, dims), PCA(dims).fit_transform(vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)
    largest = np.abs(ours).argmax(axis=0)
    assert (ours[largest, np.arange(dims)] > 0).all()


@given(st.floats(0.01, 0.99))
def test_a_share_keeps_the_fewest_components_that_explain_it(share):
    vectors = some_vectors()
    explained = np.cumsum(PCA().fit(vectors.astype(np.float64)).explained_variance_ratio_)
    dims = principal_components(vectors, share).shape[1]
    assert explained[dims - 1] >= share - 1e-6
    assert dims == 1 or explained[dims - 2] < share + 1e-6


def test_more_rows_than_a_block_make_no_difference():
    vectors = some_vectors(n_rows=20_000)
    theirs = PCA(4).fit_transform(vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs(principal_components(vectors, 4)), np.abs(theirs), atol=1e-3)


@pytest.mark.parametrize("dims", [None, 10, 12, 99])
def test_no_components_where_none_are_asked_for_or_rows_are_too_few(dims):
    vectors = some_vectors(n_rows=10)
    assert principal_components(vectors, dims) is vectors


def test_more_dims_than_features_rotate_only():
    vectors = some_vectors()
    turned = principal_components(vectors, 99)
    assert turned.shape == vectors.shape
    centred = vectors - vectors.mean(axis=0)
    np.testing.assert_allclose(turned @ turned.T, centred @ centred.T, rtol=1e-3, atol=0.1)


@given(st.integers(1, 500), st.floats(1e-6, 0.9))
def test_sif_weights_follow_the_formula(n_tokens, a):
    ranks = [1 / (i + 2) for i in range(n_tokens)]
    expected = [a / (a + rank / sum(ranks)) for rank in ranks]
    np.testing.assert_allclose(sif_weights(n_tokens, a), expected, rtol=1e-9)


def test_no_sif_means_equal_weights():
    assert (sif_weights(5, None) == 1).all()


def least_cosine(table, rounded, scales):
    rows, table = rounded * scales[:, None].astype(np.float64), table.astype(np.float64)
    return (np.einsum("ij,ij->i", rows, table) / norms(rows) / norms(table)).min()


def norms(rows):
    return np.linalg.norm(rows, axis=1)


def zipf(n_rows=2000):
    """Token vectors whose lengths differ as those of a distilled table."""
    return some_vectors(n_rows) * sif_weights(n_rows, 1e-4)[:, None].astype(np.float32)


@pytest.mark.parametrize("outlier", [None, 1000.0])
def test_int8_keeps_the_direction_of_every_row_with_whole_scales_up_to_255(outlier):
    table = zipf() if outlier is None else some_vectors(2000)
    if outlier:
        table[0, 0] = outlier
    rounded, scales = as_dtype(table, "int8")
    assert rounded.dtype == np.int8
    assert (rounded.min(), rounded.max()) >= (-127, 127)
    assert set(scales) <= set(range(1, 256))
    assert least_cosine(table, rounded, scales) > 0.995
    assert (norms(rounded) > 0).all()
    lengths = norms(rounded * scales[:, None]) / norms(table)
    assert np.quantile(lengths / np.median(lengths), [0.01, 0.99]) == pytest.approx(1, abs=0.02)
    again, same = as_dtype(-table, "int8")
    assert (again == -rounded).all()
    assert (same == scales).all()


@pytest.mark.parametrize("short", [1e-5, 1e-12, 1e-20])
def test_int8_rows_that_are_far_shorter_than_others_get_exact_scales(short):
    table = some_vectors(50)
    table[7] *= np.float32(short)
    table[8] = 0
    rounded, scales = as_dtype(table, "int8")
    table, rounded, scales = (np.delete(array, 8, axis=0) for array in (table, rounded, scales))
    assert least_cosine(table, rounded, scales) > 0.999
    lengths = norms(rounded * scales[:, None].astype(np.float64))
    np.testing.assert_allclose(lengths, norms(table.astype(np.float64)), rtol=0.01)


def test_int8_of_zeros_is_zeros():
    rounded, scales = as_dtype(np.zeros((3, 4), np.float32), "int8")
    assert not rounded.any()
    assert scales is None


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_are_cast(dtype):
    table = some_vectors().astype(np.float64)
    found, scales = as_dtype(table, dtype)
    np.testing.assert_array_equal(found, table.astype(dtype))
    assert scales is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 7e4])
def test_numbers_that_float16_does_not_hold_are_refused(dtype, value):
    table = some_vectors()
    table[5, 3] = value
    with pytest.raises(ConfigurationError, match="vector of token 5 holds"):
        as_dtype(table, dtype)


def test_each_row_belongs_to_its_nearest_centre():
    vectors = some_vectors()
    centres, mapping = cluster(vectors, 7)
    assert (centres.dtype, mapping.dtype) == (np.float32, np.int32)
    distances = np.linalg.norm(vectors[:, None] - centres[None], axis=2)
    np.testing.assert_allclose(distances[np.arange(200), mapping], distances.min(axis=1), rtol=1e-5)
