"""Converted vectors equal those that the encoder returns in that type."""

from typing import get_args

import numpy as np
import pytest
from tiny_tokenizers import SAMPLE, named

from encoder import Encoder
from encoder.arrays.dtypes import VectorType
from encoder.arrays.vectors import converted, past_caches
from encoder.errors import ConfigurationError, InputError
from encoder.model import StaticModel


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", get_args(VectorType))
def test_they_are_those_of_the_encoder(dtype, normalize):
    tokenizer = named("uncased")
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 40)).astype(np.float32)
    encoder = Encoder(StaticModel(table, tokenizer.to_str(), {"normalize": normalize}))
    texts = [*SAMPLE, ""]
    expected = encoder.encode(texts, dtype=dtype)
    room = np.empty((len(texts) + 5, expected.shape[1]), expected.dtype)
    for out in (None, room):
        found = converted(encoder.encode(texts), dtype, out)
        assert found.dtype == expected.dtype
        if dtype == "int8":
            assert np.abs(found.astype(int) - expected).max() <= 1
        else:
            assert np.array_equal(found, expected)
    assert np.shares_memory(found, room)


def test_what_does_not_fit_is_refused():
    vectors = np.ones((3, 8), np.float32)
    with pytest.raises(InputError, match="out is float32"):
        converted(vectors, "float16", np.empty((3, 8), np.float32))
    with pytest.raises(ConfigurationError, match="dtype is 'float64'"):
        converted(vectors, "float64")


@pytest.mark.parametrize("dtype", get_args(VectorType))
@pytest.mark.slow
def test_many_vectors_have_the_bits_of_few(dtype):
    tokenizer = named("uncased")
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 512)).astype(np.float32)
    encoder = Encoder(StaticModel(table, tokenizer.to_str(), {"normalize": True}))
    few = encoder.encode(SAMPLE, dtype=dtype)
    times = (16 << 20) // few.nbytes + 1
    many = encoder.encode(SAMPLE * times, dtype=dtype)
    assert past_caches(many)
    assert not past_caches(few)
    np.testing.assert_array_equal(many, np.tile(few, (times, 1)))
    # A room that begins elsewhere is written as well.
    odd = np.empty(many.nbytes + 8, np.uint8)[8:].view(many.dtype).reshape(many.shape)
    assert not past_caches(odd)
    np.testing.assert_array_equal(encoder.encode(SAMPLE * times, dtype=dtype, out=odd), many)
