"""Pooling against an obvious reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import aligned
from encoder.kernels.pool import pool_texts


def _reference(ids, table, normalize):
    """The mean of the rows in float64, scaled to length 1 if so wished."""
    if len(ids) == 0:
        return np.zeros(table.shape[1])
    mean = table[ids].astype(np.float64).mean(axis=0)
    length = np.linalg.norm(mean)
    if normalize:
        return mean / length if length else mean
    return mean


def _pool(ids, ends, table, normalize, dims=None, past_caches=False):
    dims = dims or table.shape[1]
    sums = np.full(dims, 77, np.int16 if table.dtype == np.int8 else np.float32)
    out = aligned.empty((len(ends), dims), np.float32)
    out[:] = np.nan
    pool_texts(np.asarray(ids, np.int32), np.asarray(ends), table, normalize, sums, out, past_caches)
    return out


def _pooled(ids, table, normalize, dims=None):
    return _pool(ids, [len(ids)], table, normalize, dims)[0]


def _table(kind, rows, dim, seed=0):
    random = np.random.default_rng(seed)
    if kind == "int8":
        return random.integers(-128, 128, (rows, dim), np.int8)
    return random.normal(size=(rows, dim)).astype(np.float32)


@given(
    kind=st.sampled_from(["int8", "float32"]),
    ids=st.lists(st.integers(0, 19), max_size=30),
    dim=st.integers(1, 300),
    share=st.floats(0, 1),
    normalize=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_pooling_equals_the_mean_of_the_rows(kind, ids, dim, share, normalize, seed):
    table = _table(kind, 20, dim, seed)
    dims = max(1, round(share * dim))
    found = _pooled(ids, table, normalize, dims)
    expected = _reference(ids, table[:, :dims], normalize)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4, 5, 255, 256, 257, 511, 512, 513, 1023, 5000, 70_001])
@pytest.mark.parametrize("sign", [-128, 127])
def test_int8_sums_are_exact_at_any_number_of_tokens(n_tokens, sign):
    table = np.full((3, 9), sign, np.int8)
    found = _pooled(np.arange(n_tokens) % 3, table, normalize=False)
    # float32 holds the sum (below 2**24) exactly: only the last multiplication rounds.
    np.testing.assert_array_equal(found, np.float32(sign * n_tokens) * (np.float32(1) / np.float32(n_tokens)))


@pytest.mark.slow
@pytest.mark.parametrize("n_tokens", [65_536, 65_537, 3_000_000])
def test_texts_of_millions_of_tokens_keep_their_precision(n_tokens):
    table = _table("int8", 1000, 40)
    ids = np.random.default_rng(1).integers(0, 1000, n_tokens)
    expected = table.astype(np.float64)[ids].mean(axis=0)
    np.testing.assert_allclose(_pooled(ids, table, normalize=False), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n_tokens", [300, 70_001])
@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_long_texts_keep_their_precision(kind, n_tokens):
    table = _table(kind, 1000, 64)
    ids = np.random.default_rng(1).integers(0, 1000, n_tokens)
    found = _pooled(ids, table, normalize=True)
    np.testing.assert_allclose(found, _reference(ids, table, normalize=True), atol=2e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_a_text_without_tokens_overwrites_out_with_zeros(kind, normalize):
    np.testing.assert_array_equal(_pooled([], _table(kind, 3, 5), normalize), np.zeros(5))


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_rows_that_cancel_out_give_zeros_not_nan(kind):
    table = np.array([[3, -3], [-3, 3]], np.int8 if kind == "int8" else np.float32)
    np.testing.assert_array_equal(_pooled([0, 1], table, normalize=True), np.zeros(2))


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_each_text_gets_its_own_row(kind):
    table = _table(kind, 10, 6)
    expected = [_reference([1, 2, 3], table, False), np.zeros(6), table[4]]
    np.testing.assert_allclose(_pool([1, 2, 3, 4], [3, 3, 4], table, False), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_vectors_are_the_same_past_the_caches(kind):
    table = _table(kind, 10, 48)
    ids, ends = [1, 2, 3, 4, 9, 9], [3, 3, 4, 6]
    np.testing.assert_array_equal(_pool(ids, ends, table, True, None, True), _pool(ids, ends, table, True))
