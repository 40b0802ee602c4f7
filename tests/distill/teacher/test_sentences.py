"""The teacher's sentence embeddings, held against sentence-transformers'."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from distill.teacher import sentences
from distill.teacher.sentences import load_sentence_teacher
from encoder.errors import ConfigurationError

SENTENCES = [
    "card refused",
    "the server restarted because the disk was full",
    "",
    "new york, new card!",
    "a" * 500,
]


@pytest.fixture(scope="module")
def sentence_teacher(wordpiece_teacher, tmp_path_factory):
    """A teacher whose vectors are the first token's, through a layer more."""
    folder = tmp_path_factory.mktemp("teachers") / "tiny-sentences"
    transformer = Transformer(str(wordpiece_teacher), max_seq_length=24)
    modules = [transformer, Pooling(32, pooling_mode="cls"), Dense(32, 10), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


def test_vectors_are_those_of_sentence_transformers(sentence_teacher):
    teacher = load_sentence_teacher(sentence_teacher, device="cpu", precision="float32")
    expected = SentenceTransformer(str(sentence_teacher), device="cpu").encode(SENTENCES)
    np.testing.assert_allclose(teacher.embed(SENTENCES), expected, atol=1e-6)
    assert (teacher.dim, teacher.max_tokens) == (10, 24)


def test_a_plain_transformer_is_mean_pooled_and_scaled(teacher):
    loaded = load_sentence_teacher(teacher, device="cpu", precision="float32")
    expected = SentenceTransformer(str(teacher), device="cpu").encode(SENTENCES, normalize_embeddings=True)
    np.testing.assert_allclose(loaded.embed(SENTENCES), expected, atol=1e-6)
    assert loaded.dim == 32


def test_vectors_do_not_depend_on_batches_and_threads(sentence_teacher):
    teacher = load_sentence_teacher(sentence_teacher, device="cpu", precision="float32")
    texts = [" ".join(["card refused"] * (k % 7)) + f" {k}" for k in range(100)]
    threads = torch.get_num_threads()
    together = teacher.embed(texts)
    assert torch.get_num_threads() == threads
    np.testing.assert_allclose(together, [teacher.embed([text])[0] for text in texts], atol=1e-6)
    torch.set_num_threads(1)
    try:
        assert np.array_equal(teacher.embed(texts), together)
    finally:
        torch.set_num_threads(threads)
    assert teacher.embed([]).shape == (0, 10)


def test_bfloat16_gives_nearly_the_same(sentence_teacher):
    exact, fast = (
        load_sentence_teacher(sentence_teacher, device="cpu", precision=precision).embed(SENTENCES)
        for precision in ("float32", "bfloat16")
    )
    assert not np.array_equal(exact, fast)
    assert (exact * fast).sum(axis=1).min() > 0.995


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_teacher_stored_in_float16_gives_nearly_the_same(sentence_teacher, tmp_path, precision):
    stored = SentenceTransformer(str(sentence_teacher), device="cpu").half()
    stored.save(str(tmp_path / "half"))
    exact = load_sentence_teacher(sentence_teacher, device="cpu", precision="float32").embed(SENTENCES)
    found = load_sentence_teacher(tmp_path / "half", device="cpu", precision=precision).embed(SENTENCES)
    assert (exact * found).sum(axis=1).min() > 0.995


@given(st.lists(st.integers(0, 5000), max_size=1500), st.sampled_from([1 << 14, 1 << 17]))
def test_each_text_is_in_one_batch_and_long_ones_are_in_small_ones(lengths, most_chars):
    lengths = np.array(lengths, np.int64)
    batches = list(sentences._batches(lengths, most_chars))
    order = np.concatenate([np.zeros(0, np.int64), *batches])
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()
    for rows in batches:
        assert len(rows) <= 512
        assert len(rows) * lengths[rows].max() <= most_chars


def test_the_digest_is_of_what_the_vectors_depend_on(sentence_teacher, wordpiece_teacher, tmp_path):
    def digest(folder, precision="float32"):
        return load_sentence_teacher(folder, device="cpu", precision=precision).digest

    moved = shutil.copytree(sentence_teacher, tmp_path / "elsewhere")
    assert digest(moved) == digest(sentence_teacher)
    assert digest(moved, "bfloat16") != digest(moved)
    assert digest(wordpiece_teacher) != digest(moved)
    pooling = moved / "1_Pooling/config.json"
    pooling.write_text(pooling.read_text().replace('"cls"', '"mean"'))
    assert digest(moved) != digest(sentence_teacher)


def test_a_teacher_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match="cannot load the teacher no/such-teacher"):
        load_sentence_teacher("no/such-teacher")
