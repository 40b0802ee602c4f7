"""Distillation with a corpus, from texts to a folder, with small teachers."""

import random

import numpy as np
import pytest
import torch
from model2vec import StaticModel as Model2Vec

from distill import distill
from distill.corpus_fit import fit as corpus_fit
from distill.corpus_fit import refine
from distill.corpus_fit.blend import default_blend
from distill.corpus_fit.pooling import TorchPooling
from distill.teacher.sentences import load_sentence_teacher
from encoder import Encoder
from encoder.errors import ConfigurationError, InputError
from encoder.masks import Masks
from encoder.model import save_model

SENTENCE = (
    "card payment refused at the terminal after three wrong pins merchant in new york asked for another log "
    "failed from an unknown address server restarted by watchdog because disk was full"
)
WORDS = SENTENCE.split()


def texts_of(n, seed):
    shuffler = random.Random(seed)
    return [" ".join(shuffler.choices(WORDS, k=shuffler.randint(2, 9))) for _ in range(n)]


CORPUS, OTHERS = texts_of(1200, 1), texts_of(200, 2)


@pytest.fixture(autouse=True)
def _small_and_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(refine, "_BATCH", 128)
    monkeypatch.setattr(refine, "_MIN_STEPS", 30)


def similarities(vectors):
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]


@pytest.mark.slow
def test_a_fitted_model_follows_its_teacher_better_than_a_plain_one(teacher):
    expected = similarities(load_sentence_teacher(teacher, device="cpu", precision="float32").embed(OTHERS))
    plain, fitted = (
        distill(teacher, dims=16, dtype="float32", corpus=corpus, blend=0) for corpus in (None, CORPUS)
    )
    found = [
        np.corrcoef(similarities(Encoder(result.model).encode(OTHERS)), expected)[0, 1]
        for result in (plain, fitted)
    ]
    assert found[0] + 0.05 < found[1]
    assert (plain.report, plain.held_out) == (None, ())
    report = fitted.report
    assert len(fitted.held_out) == report.held_out
    assert set(fitted.held_out) <= set(CORPUS)
    assert report.texts == pytest.approx(19 * report.held_out, abs=19)
    assert report.cosine_aligned <= report.cosine_fitted
    assert report.loss_refined <= report.loss_fitted


def test_weights_are_those_that_are_best_on_held_out_texts(teacher):
    best, equal = (
        distill(teacher, sif=sif, dims=16, corpus=CORPUS, refine=False).report for sif in (1e-4, None)
    )
    assert equal.weights == "none"
    if best.weights == "none":
        assert best.cosine_fitted == equal.cosine_fitted
    else:
        assert best.cosine_fitted > equal.cosine_fitted


@pytest.mark.slow
def test_the_blend_brings_cosines_nearer_to_those_of_plain_distillation(teacher):
    def found(**choice):
        return similarities(
            Encoder(distill(teacher, dims=16, dtype="float32", **choice).model).encode(OTHERS)
        )

    plain = found()
    by_blend = [found(corpus=CORPUS, blend=blend) for blend in (0.0, 0.5, 3.0)]
    agreement = [np.corrcoef(plain, one)[0, 1] for one in by_blend]
    assert agreement == sorted(agreement)
    assert agreement[0] + 0.01 < agreement[2]


def test_the_default_blend_goes_by_the_tokens_of_the_texts(wordpiece_teacher):
    def made(**choice):
        return distill(wordpiece_teacher, dims=16, corpus=CORPUS, refine=False, **choice)

    by_default = made()
    fitted_to = sorted(set(CORPUS) - set(by_default.held_out))
    blend = default_blend(len(Encoder(by_default.model).tokenise(fitted_to).ids))
    assert by_default.report.blend == blend
    assert np.array_equal(by_default.model.table, made(blend=blend).model.table)


@pytest.mark.slow
@pytest.mark.parametrize("choice", [{"dtype": "float32"}, {"dtype": "int8", "vocabulary": ["chargeback"]}])
def test_model2vec_gives_the_same_vectors(teacher, tmp_path, choice):
    folder = save_model(distill(teacher, dims=16, corpus=CORPUS, **choice).model, tmp_path / "model")
    texts = ["card refused", "new york chargeback", "the disk was full of x"]
    theirs = Model2Vec.from_pretrained(folder).encode(texts)
    np.testing.assert_allclose(Encoder.load(folder).encode(texts), theirs, atol=1e-5)
    plain = save_model(distill(teacher, dims=16, **choice).model, tmp_path / "plain")
    assert {file.name for file in folder.iterdir()} == {file.name for file in plain.iterdir()}
    for name in ("tokenizer.json", "config.json", "modules.json"):
        assert (folder / name).read_bytes() == (plain / name).read_bytes()


@pytest.mark.slow
def test_the_same_call_gives_the_same_table_from_any_order_of_the_corpus(wordpiece_teacher, tmp_path):
    tables = [
        distill(wordpiece_teacher, dims=8, corpus=corpus, sample=500, cache=tmp_path / name).model.table
        for name, corpus in (("a", CORPUS), ("b", CORPUS[::-1] * 2))
    ]
    assert np.array_equal(*tables)
    other = distill(wordpiece_teacher, dims=8, corpus=CORPUS, sample=500, seed=1, cache=tmp_path / "a")
    assert not np.array_equal(other.model.table, tables[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_fits_as_the_processor_does(wordpiece_teacher):
    vectors = [
        Encoder(
            distill(wordpiece_teacher, dims=8, corpus=CORPUS, device=device, dtype="float32").model
        ).encode(OTHERS)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*map(similarities, vectors), atol=0.02)


def test_the_sparse_matrices_of_a_gpu_fit_as_our_kernels_do(wordpiece_teacher, monkeypatch):
    def fitted():
        model = distill(wordpiece_teacher, dims=8, corpus=CORPUS, refine=False, dtype="float32").model
        return similarities(Encoder(model).encode(OTHERS))

    ours = fitted()
    cpu = torch.device("cpu")
    monkeypatch.setattr(corpus_fit, "pooling_on", lambda _, *tokens: TorchPooling(*tokens, cpu))
    np.testing.assert_allclose(fitted(), ours, atol=1e-3)


@pytest.mark.parametrize(("dims", "expected"), [(None, 32), (99, 32), (4, 4)])
def test_dimensions(wordpiece_teacher, dims, expected):
    model = distill(wordpiece_teacher, dims=dims, corpus=CORPUS, refine=False).model
    assert model.dim == expected
    assert model.config["apply_pca"] == dims


def test_progress_goes_through_all_stages(wordpiece_teacher):
    seen = []
    distill(wordpiece_teacher, dims=8, corpus=CORPUS, progress=lambda *told: seen.append(told))
    assert list(dict.fromkeys(unit for unit, _, _ in seen)) == [
        "tokens",
        "texts",
        "fitting steps",
        "refining steps",
    ]
    n_texts = next(total for unit, _, total in seen if unit == "texts")
    assert 1100 < n_texts <= 1200  # a few have no token
    assert ("texts", n_texts, n_texts) in seen


def test_an_interrupted_call_computes_nothing_of_the_teacher_again(wordpiece_teacher):
    def interrupt(unit, _done, _total):
        if unit == "fitting steps":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(wordpiece_teacher, dims=8, corpus=CORPUS, progress=interrupt)
    seen = []
    distill(wordpiece_teacher, dims=8, corpus=CORPUS, progress=lambda *told: seen.append(told))
    ((_, done, total),) = [told for told in seen if told[0] == "texts"]
    assert done == total


def test_what_cannot_be_is_refused_before_any_work(wordpiece_teacher):
    with pytest.raises(InputError, match="the corpus has only 2 distinct texts"):
        distill(wordpiece_teacher, corpus=["a", "b", "a"])
    with pytest.raises(ConfigurationError, match="`clusters` cannot be combined with `corpus`"):
        distill("no/such-teacher", corpus=CORPUS, clusters=5)
    with pytest.raises(ConfigurationError, match="`sample` is 5"):
        distill(wordpiece_teacher, corpus=CORPUS, sample=5)
    unread = iter(lambda: pytest.fail("it was read"), None)
    with pytest.raises(ConfigurationError, match="cannot load the teacher no/such-teacher"):
        distill("no/such-teacher", corpus=unread)
    with pytest.raises(ConfigurationError, match="cannot write to the cache"):
        distill(wordpiece_teacher, corpus=unread, cache=wordpiece_teacher / "config.json")
    for blend in (-0.1, float("nan")):
        with pytest.raises(ConfigurationError, match=f"`blend` is {blend}: it must be 0"):
            distill("no/such-teacher", corpus=CORPUS, blend=blend)
    with pytest.raises(InputError, match="only 0 texts of the corpus have a token that the teacher knows"):
        distill(wordpiece_teacher, dims=8, corpus=[f"{i} €" for i in range(1000, 1200)])


def test_a_corpus_with_too_few_texts_to_hold_out_is_refused_before_the_fit(wordpiece_teacher, monkeypatch):
    monkeypatch.setattr(corpus_fit, "embed_cached", lambda *_: pytest.fail("the teacher embedded texts"))
    with pytest.raises(
        InputError, match=r"of its 1,\d+ texts are held out, and 100 are needed .*2,000 distinct"
    ):
        distill(wordpiece_teacher, dims=8, corpus=CORPUS, min_held_out=100)


def test_a_masked_model_is_fitted_to_masked_texts(wordpiece_teacher, tmp_path):
    masks = Masks.parse("ip,number")
    texts = [f"{text} {k} 10.0.0.{k % 250}" for k, text in enumerate(CORPUS)]
    options = {"dims": 8, "refine": False, "cache": tmp_path}
    masked = distill(wordpiece_teacher, corpus=texts, masks="number,ip", **options)
    plain = distill(wordpiece_teacher, corpus=masks(texts).to_pylist(), **options)
    assert masked.model.masks == masks
    assert np.array_equal(masked.model.table, plain.model.table)
    assert all("<ip>" in text and "10.0" not in text for text in masked.held_out)
    assert distill(wordpiece_teacher, dims=8, masks=["ip"]).model.config["masks"] == ["ip"]
