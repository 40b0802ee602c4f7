"""All measures together, of small models."""

import json

import numpy as np
import pytest

from distill import distill
from distill.evaluation import (
    Classification,
    Labelled,
    Pairs,
    Records,
    Retrieval,
    Sets,
    evaluate,
    open_model,
    static_model,
)
from encoder.errors import ConfigurationError, ModelFormatError
from encoder.model import save_model

WORDS = ["card", "payment", "refused", "terminal", "wrong", "merchant", "log", "failed", "server", "disk"]


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, 5)) for _ in range(60)]


@pytest.fixture(scope="module")
def sets(texts):
    labels = ["card" if "card" in text else "other" for text in texts]
    halves = Labelled(texts[:30], labels[:30]), Labelled(texts[30:], labels[30:])
    corpus, queries = dict(enumerate(texts[:40])), dict(enumerate(texts[40:]))
    return Sets(
        records=Records("records", texts, labels),
        pairs=(Pairs("pairs", texts[:20], texts[20:40], list(range(20))),),
        classifications=(Classification("kinds", *halves),),
        retrievals=(Retrieval("search", corpus, queries, {i: {i: 1.0} for i in queries}),),
    )


@pytest.fixture(scope="module")
def folder(wordpiece_teacher, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(distill(wordpiece_teacher, dims=8).model, path)
    return path


@pytest.mark.slow
def test_every_set_has_its_figures_with_intervals_around_them(folder, wordpiece_teacher, sets):
    teacher = evaluate(open_model(str(wordpiece_teacher)), sets)
    said = []
    found = evaluate(open_model(str(folder)), sets, against=teacher, progress=said.append)
    metrics = [(figure.metric, figure.dataset) for figure in found.figures]
    own = ["overlap@10", "rank-correlation", "knn", "logistic", "average-precision"]
    known = [("sts", "pairs"), ("classification", "kinds"), ("ndcg@10", "search"), ("recall@10", "search")]
    assert metrics == [*((metric, "records") for metric in own), *known]
    assert [figure.metric for figure in teacher.figures] == [metric for metric, _ in metrics[2:]]
    for figure in found.figures:
        assert figure.low <= figure.high
    assert (found.kind, found.dim, found.reference) == ("static", 8, "tiny-bert")
    assert (teacher.kind, teacher.dim, teacher.reference) == ("teacher", 32, None)
    assert found.vectors.shape == (60, 8)
    assert found.texts_per_second > teacher.texts_per_second > 0
    assert teacher.n_bytes == (wordpiece_teacher / "model.safetensors").stat().st_size
    assert said[0] == "tiny: records"


@pytest.mark.slow
def test_a_model_agrees_with_itself_and_is_written_as_json(folder, sets):
    model = open_model(str(folder))
    found = evaluate(model, sets, against=evaluate(model, sets)).to_json()
    assert found["figures"][0]["value"] == 1
    assert "vectors" not in found
    assert json.loads(json.dumps(found, allow_nan=False)) == {**found, "figures": list(found["figures"])}


def test_a_figure_that_is_no_number_is_null_in_json(folder):
    constant = Sets(pairs=(Pairs("flat", ["card", "log"], ["disk", "full"], [1, 1]),))
    figure = evaluate(open_model(str(folder)), constant).to_json()["figures"][0]
    assert (figure["value"], figure["low"], figure["n"]) == (None, None, 2)


@pytest.mark.slow
def test_a_model_in_memory_is_measured_as_its_folder(folder, sets, wordpiece_teacher):
    in_memory = evaluate(static_model(distill(wordpiece_teacher, dims=8).model, "tiny"), sets)
    assert in_memory.figures == evaluate(open_model(str(folder)), sets).figures


def test_names_mean_word_vectors_then_static_models_then_teachers(folder, wordpiece_teacher, tmp_path):
    (tmp_path / "words.vec").write_text("card 1 0\nlog 0 1\n")
    kinds = {
        str(tmp_path / "words.vec"): "word vectors",
        str(folder): "static",
        str(wordpiece_teacher): "teacher",
    }
    for name, kind in kinds.items():
        assert open_model(name, texts=lambda: ["card"]).kind == kind
    with pytest.raises(ConfigurationError, match="cannot load the teacher"):
        open_model("no/such-model")


def test_a_damaged_static_model_is_not_taken_for_a_teacher(folder, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in folder.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelFormatError, match=r"model\.safetensors is not a safetensors file"):
        open_model(str(damaged))
