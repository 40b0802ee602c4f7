"""Mean pooling by torch's sparse matrices, held against our own kernels; on a GPU where there is one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.torch_pooling import TorchPooling, pooling_on
from encoder.tokens import TokenIds

N_TOKENS = 9
CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
token_lists = st.lists(st.lists(st.integers(0, N_TOKENS - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def tokens_of(texts):
    ids = np.array([token for text in texts for token in text], np.int32)
    return TokenIds(ids, np.cumsum([0, *map(len, texts)]))


@pytest.mark.parametrize("device", DEVICES, ids=str)
@given(texts=token_lists, seed=st.integers(0, 2**32 - 1))
def test_all_products_are_those_of_our_kernels(device, texts, seed):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((N_TOKENS, 70), np.float32)  # more columns than go together
    values = rng.standard_normal((len(texts), 70), np.float32)
    ours, theirs = MeanPooling(tokens_of(texts), N_TOKENS), TorchPooling(tokens_of(texts), N_TOKENS, device)
    assert len(theirs) == len(ours)
    for name, source in (("means", table), ("spread", values), ("gram", table)):
        found = getattr(theirs, name)(source)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(ours, name)(source), atol=1e-5)


@given(token_lists, st.data())
def test_a_part_is_the_map_of_some_texts(texts, data):
    first = data.draw(st.integers(0, len(texts) - 1))
    last = data.draw(st.integers(first + 1, len(texts)))
    table = np.random.default_rng(0).standard_normal((N_TOKENS, 3), np.float32)
    whole = TorchPooling(tokens_of(texts), N_TOKENS, CPU)
    part = whole.part(first, last)
    assert isinstance(part, TorchPooling)
    np.testing.assert_allclose(part.means(table), whole.means(table)[first:last], atol=1e-6)


def test_a_gpu_has_the_matrices_and_a_cpu_our_kernels():
    tokens = tokens_of([[1, 2]])
    assert isinstance(pooling_on(torch.device("cuda"), tokens, N_TOKENS), TorchPooling)
    assert type(pooling_on(CPU, tokens, N_TOKENS)) is MeanPooling
    assert type(pooling_on(torch.device("mps"), tokens, N_TOKENS)) is MeanPooling
