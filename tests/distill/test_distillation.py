"""The whole distillation, held against model2vec's on the same teachers."""

import json
import logging
from functools import partial

import numpy as np
import pytest
from model2vec import StaticModel as Model2Vec
from model2vec.distill import distill as model2vec_distill
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from distill import distill
from encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.model import save_model

SENTENCES = ["card refused", "the server restarted again", "New York, new card!", "", "zzz disk é full", "1"]
OWN_WORDS = ["chargeback", "card", "Chargeback", "new york", "pin-code", "terminals"]


@pytest.fixture(autouse=True)
def _quiet_reference():
    logging.disable(logging.WARNING)  # the reference reports each token it changes
    yield
    logging.disable(logging.NOTSET)


def distilled(teacher, **options):
    return distill(teacher, **options).model


distill_as_reference = partial(distilled, precision="float32")  # model2vec always computes in float32


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def assert_equal_tables(ours, theirs):
    assert ours.table.shape == theirs.embedding.shape
    assert cosines(ours.table, theirs.embedding).min() > 0.9999
    np.testing.assert_allclose(ours.table, theirs.embedding, atol=1e-3)


def test_table_and_tokenizer_equal_model2vec_for_every_kind_of_tokenizer(teacher, tmp_path):
    theirs = model2vec_distill(str(teacher), pca_dims=16, quantize_to="float32")
    ours = distill_as_reference(teacher, dims=16, dtype="float32")
    assert_equal_tables(ours, theirs)
    theirs.save_pretrained(tmp_path)
    expected = json.loads((tmp_path / "tokenizer.json").read_text())
    if expected["model"]["type"] == "Unigram":  # the reference leaves the id that <unk> had in the teacher
        expected["model"]["unk_id"] = expected["added_tokens"][1]["id"]
        assert expected["added_tokens"][1]["content"] == "<unk>"
    assert json.loads(ours.tokenizer_json) == expected


@pytest.mark.parametrize(
    ("our_choice", "their_choice"),
    [
        ({"pooling": "first"}, {"pooling": "first"}),
        ({"pooling": "last"}, {"pooling": "last"}),
        ({"pooling": "pooler"}, {"pooling": "pooler"}),
        ({"dims": 0.8}, {"pca_dims": 0.8}),
        ({"dims": None}, {"pca_dims": None}),
        ({"dims": 32}, {"pca_dims": "auto"}),
        ({"dims": 80}, {"pca_dims": 80}),
        ({"sif": None}, {"sif_coefficient": None}),
        ({"sif": 1e-2}, {"sif_coefficient": 1e-2}),
        ({"drop_pattern": None}, {"token_remove_pattern": None}),
        ({"drop_pattern": "##"}, {"token_remove_pattern": "##"}),
    ],
    ids=str,
)
def test_every_parameter_means_what_it_means_in_model2vec(wordpiece_teacher, our_choice, their_choice):
    theirs_by_default = {"pca_dims": 16, "quantize_to": "float32"}
    theirs = model2vec_distill(str(wordpiece_teacher), **{**theirs_by_default, **their_choice})
    ours = distill_as_reference(wordpiece_teacher, **{"dims": 16, "dtype": "float32", **our_choice})
    assert_equal_tables(ours, theirs)


def test_own_words_equal_model2vec(wordpiece_teacher, tmp_path):
    theirs = model2vec_distill(str(wordpiece_teacher), OWN_WORDS, pca_dims=16, quantize_to="float32")
    ours = distill_as_reference(wordpiece_teacher, vocabulary=OWN_WORDS, dims=16, dtype="float32")
    assert_equal_tables(ours, theirs)
    theirs.save_pretrained(tmp_path)
    assert json.loads(ours.tokenizer_json) == json.loads((tmp_path / "tokenizer.json").read_text())


def test_config_has_the_keys_of_model2vec(wordpiece_teacher, tmp_path):
    model2vec_distill(str(wordpiece_teacher), pca_dims=16).save_pretrained(tmp_path / "theirs")
    save_model(distilled(wordpiece_teacher, dims=16), tmp_path / "ours")
    theirs = json.loads((tmp_path / "theirs/config.json").read_text())
    ours = json.loads((tmp_path / "ours/config.json").read_text())
    assert theirs.pop("tokenizer_name") == str(wordpiece_teacher)
    assert ours.pop("tokenizer_name") == "tiny-bert"
    assert ours == theirs


@pytest.mark.parametrize(
    ("choice", "tolerance"),
    [
        ({"dtype": "float32"}, 1e-6),
        ({"dtype": "float16"}, 2e-3),
        ({"dtype": "float32", "clusters": 20}, 1e-6),
    ],
    ids=str,
)
def test_model2vec_and_sentence_transformers_load_the_folder(teacher, tmp_path, choice, tolerance):
    folder = str(save_model(distilled(teacher, dims=16, **choice), tmp_path / "model"))
    texts = SENTENCES[:2]  # without unknown tokens, which sentence-transformers does not leave out
    expected = Model2Vec.from_pretrained(folder).encode(texts)
    assert np.linalg.norm(expected.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    whole = SentenceTransformer(folder, device="cpu")
    np.testing.assert_allclose(whole.encode(texts), expected, atol=tolerance)
    unscaled = SentenceTransformer(modules=[StaticEmbedding.from_model2vec(folder)], device="cpu")
    np.testing.assert_allclose(cosines(unscaled.encode(texts), expected), 1, atol=tolerance)


def test_int8_gives_the_vectors_of_float32_in_model2vec(teacher, tmp_path):
    exact = save_model(distill_as_reference(teacher, dims=16, dtype="float32"), tmp_path / "exact")
    rounded = save_model(distill_as_reference(teacher, dims=16, dtype="int8"), tmp_path / "rounded")
    a, b = (Model2Vec.from_pretrained(folder).encode(SENTENCES[:3]) for folder in (exact, rounded))
    assert cosines(a, b).min() > 0.995  # of 16 dimensions; more dimensions, less noise
    assert Model2Vec.from_pretrained(rounded).embedding.dtype == np.int8


@pytest.mark.parametrize("clusters", [None, 20])
def test_int8_keeps_the_direction_of_every_short_text(teacher, tmp_path, clusters):
    choice = {"dims": 16, "sif": 1e-5, "clusters": clusters}
    exact, rounded = (distilled(teacher, **choice, dtype=dtype) for dtype in ("float32", "int8"))
    words = sorted(Tokenizer.from_str(exact.tokenizer_json).get_vocab())
    texts = [" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words))]
    a, b = Encoder(exact).encode(texts), Encoder(rounded).encode(texts)
    there = a.any(axis=1)
    assert there.mean() > 0.9
    assert cosines(a[there], b[there]).min() > 0.99
    folder = save_model(rounded, tmp_path / "rounded")
    np.testing.assert_allclose(Model2Vec.from_pretrained(folder).encode(texts), b, atol=1e-5)


def test_clusters_share_vectors_and_keep_weights(wordpiece_teacher):
    model = distill_as_reference(wordpiece_teacher, dims=8, clusters=20, dtype="float32")
    assert model.table.shape == (20, 8)
    assert set(model.mapping) == set(range(20))
    assert (
        len(model.weights) == len(model.mapping) == len(distill_as_reference(wordpiece_teacher, dims=8).table)
    )
    assert (np.diff(model.weights) > 0).all()


@pytest.mark.parametrize(
    "choice",
    [{}, {"dtype": "int8", "vocabulary": OWN_WORDS}, {"clusters": 20}],
    ids=["plain", "words", "clusters"],
)
def test_the_same_command_gives_the_same_bytes(teacher, tmp_path, choice):
    folders = [save_model(distilled(teacher, dims=16, **choice), tmp_path / name) for name in "ab"]
    first, second = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert first == second
    assert len(first) == 5


def test_nothing_written_names_a_local_path(teacher, tmp_path):
    folder = save_model(distilled(teacher, dims=16), tmp_path / "model")
    assert all(str(teacher.parent).encode() not in file.read_bytes() for file in folder.iterdir())


def test_progress_counts_to_the_whole_vocabulary(wordpiece_teacher):
    seen = []
    model = distilled(wordpiece_teacher, dims=16, progress=lambda *told: seen.append(told))
    assert seen[-1] == ("tokens", len(model.table), len(model.table))


def test_bfloat16_keeps_the_cosines_of_sentences(wordpiece_teacher, tmp_path):
    exact = save_model(
        distill_as_reference(wordpiece_teacher, dims=None, dtype="float32"), tmp_path / "exact"
    )
    fast = distilled(wordpiece_teacher, dims=None, dtype="float32", precision="bfloat16")
    rounded = save_model(fast, tmp_path / "rounded")
    a, b = (Model2Vec.from_pretrained(folder).encode(SENTENCES[:3]) for folder in (exact, rounded))
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=5e-3)


def test_more_clusters_than_tokens_are_refused(wordpiece_teacher):
    with pytest.raises(ConfigurationError, match="`clusters` is 9999, but there are only"):
        distilled(wordpiece_teacher, clusters=9999)
