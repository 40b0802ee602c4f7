"""Mean pooling as a linear map, held against the matrix itself."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.corpus_fit.pooling import MeanPooling, TorchPooling, pooling_on
from encoder.tokens import TokenIds

N_TOKENS = 7
CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
token_lists = st.lists(st.lists(st.integers(0, N_TOKENS - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def tokens_of(texts):
    ids = np.array([token for text in texts for token in text], np.int32)
    return TokenIds(ids, np.cumsum([0, *map(len, texts)]))


def pooling_of(texts, **options):
    return MeanPooling(tokens_of(texts), N_TOKENS, **options)


def matrix_of(texts):
    matrix = np.zeros((len(texts), N_TOKENS))
    for row, text in enumerate(texts):
        for token in text:
            matrix[row, token] += 1 / len(text)
    return matrix


@given(token_lists, st.integers(0, 2**32 - 1))
def test_the_map_its_transpose_and_their_product_are_those_of_the_matrix(texts, seed):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((N_TOKENS, 3), np.float32)
    values = rng.standard_normal((len(texts), 3), np.float32)
    a, pooling = matrix_of(texts), pooling_of(texts)
    np.testing.assert_allclose(pooling.means(table), a @ table, atol=1e-5)
    np.testing.assert_allclose(pooling.scatter(values), a.T @ values, atol=1e-5)
    np.testing.assert_allclose(pooling.gram(table), a.T @ a @ table, atol=1e-5)


@given(token_lists, st.integers(1, 4))
def test_sums_of_a_few_texts_at_a_time_are_those_of_all(texts, together):
    values = np.random.default_rng(2).standard_normal((len(texts), 3), np.float32)
    a, pooling = matrix_of(texts), pooling_of(texts)
    with patch("distill.corpus_fit.pooling._GRAM_TEXTS", together):
        np.testing.assert_allclose(pooling.scatter(values), a.T @ values, atol=1e-5)
        gram = pooling.gram(np.eye(N_TOKENS, dtype=np.float32))
        np.testing.assert_allclose(gram, a.T @ a, atol=1e-5)


@given(token_lists, st.data())
def test_a_part_is_the_map_of_some_texts(texts, data):
    first = data.draw(st.integers(0, len(texts) - 1))
    last = data.draw(st.integers(first + 1, len(texts)))
    table = np.random.default_rng(0).standard_normal((N_TOKENS, 3), np.float32)
    part = pooling_of(texts).part(first, last)
    assert len(part) == last - first
    assert np.array_equal(part.means(table), pooling_of(texts).means(table)[first:last])


def test_threads_change_no_bit():
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, N_TOKENS, n).tolist() for n in rng.integers(1, 30, 500)]
    table = rng.standard_normal((N_TOKENS, 200), np.float32)
    one, three = (pooling_of(texts, threads=n).gram(table) for n in (1, 3))
    assert np.array_equal(one, three)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@given(texts=token_lists, seed=st.integers(0, 2**32 - 1))
def test_sparse_matrices_give_the_products_of_the_kernels(device, texts, seed):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((N_TOKENS, 70), np.float32)  # more columns than go together
    values = rng.standard_normal((len(texts), 70), np.float32)
    ours, theirs = pooling_of(texts), TorchPooling(tokens_of(texts), N_TOKENS, device)
    assert len(theirs) == len(ours)
    for name, source in (("means", table), ("scatter", values), ("gram", table)):
        found = getattr(theirs, name)(source)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(ours, name)(source), atol=1e-5)


@given(token_lists, st.data())
def test_a_part_of_a_sparse_matrix_is_the_map_of_some_texts(texts, data):
    first = data.draw(st.integers(0, len(texts) - 1))
    last = data.draw(st.integers(first + 1, len(texts)))
    table = np.random.default_rng(0).standard_normal((N_TOKENS, 3), np.float32)
    whole = TorchPooling(tokens_of(texts), N_TOKENS, CPU)
    part = whole.part(first, last)
    assert isinstance(part, TorchPooling)
    np.testing.assert_allclose(part.means(table), whole.means(table)[first:last], atol=1e-6)


def test_cuda_uses_sparse_matrices_and_other_devices_the_kernels():
    tokens = tokens_of([[1, 2]])
    assert isinstance(pooling_on(torch.device("cuda"), tokens, N_TOKENS), TorchPooling)
    assert type(pooling_on(CPU, tokens, N_TOKENS)) is MeanPooling
    assert type(pooling_on(torch.device("mps"), tokens, N_TOKENS)) is MeanPooling
