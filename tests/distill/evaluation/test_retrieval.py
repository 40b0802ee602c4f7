"""Retrieval with relevance judgements."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from distill.evaluation.retrieval import search_quality
from distill.evaluation.sets import Retrieval


def test_ndcg_and_recall_of_a_small_search(known_vectors):
    search = Retrieval(
        "small",
        {x: x for x in "bcd"},
        {"1": "a", "2": "a", "3": "a"},  # the last has no answer and does not count
        {"1": {"b": 1}, "2": {"b": 1, "d": 1}},
    )
    gain, recall = search_quality(search, known_vectors)
    second = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert gain.value == pytest.approx((1 + second) / 2)
    assert (recall.value, recall.n) == (1, 2)
    gain, recall = search_quality(search, known_vectors, cut=1)
    assert (gain.value, recall.value) == (1, 0.75)


def test_ndcg_is_scikit_learns_with_several_degrees_of_relevance():
    random = np.random.default_rng(0)
    passages, queries = (random.standard_normal((n, 6)).astype(np.float32) for n in (200, 30))
    degrees = random.integers(0, 3, (30, 200)) * (random.random((30, 200)) < 0.1)
    search = Retrieval(
        "many",
        {f"p{i}": f"p{i}" for i in range(200)},
        {f"q{i}": f"q{i}" for i in range(30)},
        {f"q{i}": {f"p{j}": float(d) for j, d in enumerate(row) if d} for i, row in enumerate(degrees)},
    )
    vectors = {"p": passages, "q": queries}

    def embed(texts):
        return np.array([vectors[text[0]][int(text[1:])] for text in texts])

    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        passages / np.linalg.norm(passages, axis=1, keepdims=True)
    ).T
    gain, _ = search_quality(search, embed)
    assert gain.value == pytest.approx(ndcg_score(degrees, cosines, k=10), abs=1e-6)
