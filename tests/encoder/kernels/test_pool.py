"""Pooling against an obvious reference."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.arrays import aligned
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


def _pool(ids, ends, table, normalize, dims=None, past_caches=False, weights=None):
    dims = dims or table.shape[1]
    out = aligned.empty((len(ends), dims), np.float32)
    out[:] = np.nan
    ids, ends = np.asarray(ids, np.int32), np.asarray(ends)
    pool_texts(ids, ends, table, weights, normalize, dims, out, past_caches)
    return out


def _pooled(ids, table, normalize, dims=None, weights=None):
    return _pool(ids, [len(ids)], table, normalize, dims, weights=weights)[0]


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


@given(
    ids=st.lists(st.integers(0, 19), max_size=30),
    dim=st.integers(1, 600),
    share=st.floats(0, 1),
    seed=st.integers(0, 1 << 20),
)
def test_weights_multiply_int8_rows_without_rounding(ids, dim, share, seed):
    table = _table("int8", 20, dim, seed)
    weights = np.random.default_rng(seed).integers(0, 256, 20).astype(np.uint8)
    dims = max(1, round(share * dim))
    found = _pooled(ids, table, False, dims, weights)
    expected = (table[ids, :dims].astype(np.float64) * weights[ids, None]).sum(axis=0).astype(np.float32)
    np.testing.assert_array_equal(found, expected * np.float32(1 / max(len(ids), 1)))


@pytest.mark.slow  # compiles
def test_weighted_sums_have_the_same_bits_without_avx512(tmp_path):
    random = np.random.default_rng(3)
    np.savez(tmp_path / "in", t=_table("int8", 50, 300), w=random.integers(0, 256, 50).astype(np.uint8))
    program = f"""
import numpy as np
from encoder.kernels.pool import pool_texts
given, out = np.load({str(tmp_path / "in.npz")!r}), np.empty((3, 300), np.float32)
ids, ends = np.arange(777, dtype=np.int32) % 50, np.array([1, 30, 777])
pool_texts(ids, ends, given["t"], given["w"], True, 300, out, False)
print(out.tobytes().hex())
"""
    old = {**os.environ, "NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    found = {
        subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True).stdout
        for env in (old, os.environ)
    }
    assert len(found) == 1


@pytest.mark.parametrize("n_tokens", [1, 2, 3, 255, 256, 257, 513, 70_001])
@pytest.mark.parametrize("sign", [-128, 127])
def test_weighted_sums_do_not_overflow_at_any_number_of_tokens(n_tokens, sign):
    table, weights = np.full((3, 70), sign, np.int8), np.full(3, 255, np.uint8)
    found = _pooled(np.arange(n_tokens) % 3, table, normalize=False, weights=weights)
    np.testing.assert_allclose(found, sign * 255, rtol=1e-6)


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
