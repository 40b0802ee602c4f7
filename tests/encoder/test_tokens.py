"""The token ids and token vectors that `encode` averages."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import tiny_tokenizers
from hypothesis import given
from hypothesis import strategies as st
from model2vec import StaticModel as Model2Vec
from unicode_texts import many, mutate, texts

from encoder import Encoder
from encoder.errors import InputError

LINES = [*tiny_tokenizers.SAMPLE, None, "", "☃", "[CLS] card [MASK]", "é\u0327\u0301 x", None, "card"]


def _rows(found, values):
    """The values of each text."""
    assert found.offsets.dtype == np.int64
    assert found.ids.dtype == np.int32
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(values)
    return [values[a:b] for a, b in zip(found.offsets, found.offsets[1:], strict=False)]


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("name", ["uncased", "cased", "only trained", "Unigram", "byte-level BPE"])
def test_ids_are_those_of_tokenizers_cut_and_without_unknown_ones(name, limit):
    found = tiny_tokenizers.encoder(name, limit).tokenise(LINES)
    model = tiny_tokenizers.reference(name, limit)
    cut = [(text or "")[: limit and limit * model.median_token_length] for text in LINES]
    assert [row.tolist() for row in _rows(found, found.ids)] == model.tokenize(cut)


@pytest.mark.parametrize("name", ["uncased", "Unigram"])
def test_ids_of_many_texts_in_blocks_and_chunks_are_those_of_each(name):
    random = np.random.default_rng(8)
    lines = [*mutate(tiny_tokenizers.SAMPLE * 60, random), *many(700, random), "", None]
    encoder = tiny_tokenizers.encoder(name)
    array = pa.array(lines)
    whole = encoder.tokenise(array)
    chunked = encoder.tokenise(pa.chunked_array([array[:5], array[5:5], array[5:900], array[900:]]))
    for mine, same in zip(whole, chunked, strict=True):
        np.testing.assert_array_equal(mine, same)
    for line, row in list(zip(lines, _rows(whole, whole.ids), strict=True))[::23]:
        np.testing.assert_array_equal(encoder.tokenise([line]).ids, row)


def _model(kind):
    model = tiny_tokenizers.encoder_model("uncased", 512)
    random = np.random.default_rng(1)
    n_tokens = len(model.table)
    if kind == "weights and mapping":
        weights, mapping = random.random(n_tokens), random.integers(0, 30, n_tokens)
        return dataclasses.replace(
            model, table=model.table[:30].astype(np.float32), weights=weights, mapping=mapping
        )
    if kind == "int8 and weights":
        return dataclasses.replace(model, weights=random.random(n_tokens).astype(np.float32))
    return dataclasses.replace(model, table=model.table.astype(kind))


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "int8 and weights", "weights and mapping"])
def test_vectors_are_those_of_model2vec(kind):
    model = _model(kind)
    theirs = Model2Vec(
        np.asarray(model.table),
        tiny_tokenizers.named("uncased"),
        weights=model.weights,
        token_mapping=model.mapping,
    )
    found = Encoder(model).encode_tokens(LINES)
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == (len(found.ids), 8)
    expected = theirs.encode_as_sequence([text or "" for text in LINES])
    for mine, their in zip(_rows(found, found.vectors), expected, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-6)


@given(
    lines=st.lists(texts | st.none(), max_size=6),
    kind=st.sampled_from(["float32", "int8"]),
    unit=st.booleans(),
)
def test_means_of_token_vectors_are_the_vectors(lines, kind, unit):
    encoder = _encoder(kind, unit)
    found = encoder.encode_tokens(lines)
    rows = _rows(found, found.vectors)
    means = np.array([row.mean(axis=0) if len(row) else np.zeros(8) for row in rows]).reshape(-1, 8)
    if unit:
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-32)
    np.testing.assert_allclose(encoder.encode(lines), means, atol=1e-4)


_ENCODERS = {}


def _encoder(kind, unit):
    if (kind, unit) not in _ENCODERS:
        model = dataclasses.replace(_model(kind), config={"normalize": unit})
        _ENCODERS[kind, unit] = Encoder(model)
    return _ENCODERS[kind, unit]


@pytest.mark.parametrize("name", ["uncased", "Unigram"])
@pytest.mark.parametrize(
    "nothing", [[], [None], "", ["", ""], pa.nulls(3), pa.chunked_array([], pa.string())]
)
def test_null_and_empty_texts_have_no_tokens(name, nothing):
    found = tiny_tokenizers.encoder(name).encode_tokens(nothing)
    n_texts = 1 if nothing == "" else len(nothing)
    assert found.offsets.tolist() == [0] * (n_texts + 1)
    assert found.ids.shape == (0,)
    assert found.vectors.shape == (0, 8)


def test_one_str_is_one_text():
    encoder = tiny_tokenizers.encoder("uncased")
    for one, many_ in zip(encoder.encode_tokens("card"), encoder.encode_tokens(["card"]), strict=True):
        np.testing.assert_array_equal(one, many_)


@pytest.mark.parametrize("wrong", [5, [b"bytes"], ["\ud800"]], ids=["number", "bytes", "lone surrogate"])
def test_other_types_than_text_are_an_input_error(wrong):
    with pytest.raises(InputError):
        tiny_tokenizers.encoder("uncased").tokenise(wrong)
