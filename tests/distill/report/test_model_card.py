"""The model card."""

import re
from dataclasses import replace

import numpy as np
import yaml
from huggingface_hub import ModelCard

from distill import CorpusReport, distill, model_card
from distill.evaluation import Evaluation, Figure
from encoder.model import StaticModel


def a_model(dtype="float16"):
    config = {"apply_pca": 256, "sif_coefficient": None, "pooling": "mean"}
    return StaticModel(np.zeros((1000, 16), dtype), "{}", config)


def metadata_of(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def test_metadata_of_a_local_teacher_has_its_licence_and_no_base_model(wordpiece_teacher):
    card = model_card(a_model(), name="tiny", teacher=wordpiece_teacher)
    metadata = metadata_of(card)
    assert metadata["library_name"] == "model2vec"
    assert metadata["license"] == "apache-2.0"
    assert metadata["language"] == "en"
    assert "base_model" not in metadata
    assert "tiny-bert" in card
    assert str(wordpiece_teacher) not in card


def test_a_teacher_from_the_hub_is_the_base_model():
    card = model_card(a_model(), name="tiny", teacher="org/model")
    assert metadata_of(card)["base_model"] == "org/model"
    assert "license" not in metadata_of(card)
    assert "[org/model](https://huggingface.co/org/model)" in card


def test_the_card_says_how_to_load_it():
    texts = {
        dtype: model_card(a_model(dtype), name="tiny", teacher="org/model") for dtype in ("float16", "int8")
    }
    assert all("StaticModel.from_pretrained" in text and "Encoder.load" in text for text in texts.values())
    assert "SentenceTransformer(" in texts["float16"]
    assert "SentenceTransformer(" not in texts["int8"]  # it cannot hold int8 tables
    assert "1,000 tokens, 16 dimensions" in texts["int8"]


def test_the_hub_accepts_the_card(wordpiece_teacher):
    card = ModelCard(
        model_card(distill(wordpiece_teacher, dims=8).model, name="tiny", teacher=wordpiece_teacher)
    )
    assert card.data.tags == [
        "embeddings",
        "static-embeddings",
        "sentence-transformers",
        "model2vec",
        "millstream",
    ]


def test_the_card_of_a_fitted_model_says_what_it_was_fitted_to():
    figures = {"weights": "sif", "penalty": 0.3, "steps": 40, "cosine_aligned": 0.7, "cosine_fitted": 0.75}
    report = CorpusReport(texts=19000, held_out=1000, loss_fitted=1.0, loss_refined=0.9, blend=0.5, **figures)
    card = model_card(a_model(), name="tiny", teacher="org/model", report=report)
    assert "fitted to 19,000 texts by ridge regression (λ = 0.3), and refined by gradient descent" in card
    assert "the plain distillation's vectors (PCA) were concatenated at 0.5 times the length" in card
    assert "On 1,000 held-out texts" in card
    assert "with the teacher was 0.700 before this regression and 0.750 after it" in card
    plain_fit = replace(report, loss_fitted=None, loss_refined=None)
    assert "refined" not in model_card(a_model(), name="tiny", teacher="org/model", report=plain_fit)
    assert "weighted by smooth inverse frequency (" in card
    unpenalised = replace(report, penalty=None)
    assert "ridge regression (λ = ∞)" in model_card(
        a_model(), name="tiny", teacher="org/model", report=unpenalised
    )
    equal = model_card(
        a_model(), name="tiny", teacher="org/model", report=replace(report, weights="none", blend=0.0)
    )
    assert "inverse frequency" not in equal


def test_the_figures_are_a_table_and_the_hubs_model_index():
    nothing = float("nan")
    figures = (
        Figure("sts", "stsb", 83.46, 82.1, 84.7, 1500),
        Figure("overlap@10", "held|out", 0.51, 0.5, 0.52, 900),
        Figure("knn", "records", nothing, nothing, nothing, 2),
    )
    own = Evaluation("tiny", "static", 16, 1, 1.0, "teacher", figures)
    teacher = Evaluation("teacher", "teacher", 32, 1, 1.0, None, figures[:1])
    card = model_card(a_model(), name="tiny", teacher="org/model", quality=[own, teacher])
    assert "| sts | stsb | 83.5 \\[82.1, 84.7] | 83.5 \\[82.1, 84.7] |" in card
    assert "| overlap@10 | held\\|out | 0.510 \\[0.500, 0.520] | - |" in card
    found = {(each.metric_type, each.metric_value) for each in ModelCard(card).data.eval_results}
    assert found == {("sts", 83.46), ("overlap@10", 0.51)}
    index = metadata_of(card)["model-index"][0]
    assert index["name"] == "tiny"
    assert index["results"][0]["task"]["type"] == "sentence-similarity"
    assert "model-index" not in metadata_of(model_card(a_model(), name="tiny", teacher="org/model"))
