"""The tasks of the quality benchmark are scored right, on small ones whose scores are known."""

import json

import numpy as np
import pytest
from benchmarks.tasks.protocol import classification, cranfield, sts, xquad

VECTORS = {"a": [1.0, 0.0], "b": [0.9, 0.1], "c": [0.5, 0.5], "d": [0.0, 1.0], "": [0.0, 0.0]}


def encode(texts):
    return np.array([VECTORS[text.split("#")[0]] for text in texts], np.float32)


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(("scores", "expected"), [((5, 4, 3, 0), 1.0), ((0, 3, 4, 5), -1.0)])
def test_sts_is_the_rank_correlation_of_cosines(tmp_path, scores, expected):
    pairs = zip("abcd", scores, strict=True)
    write(tmp_path / "stsb-dev.jsonl", [{"sentence1": "a", "sentence2": x, "score": s} for x, s in pairs])
    assert sts(tmp_path, encode) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("task", "name", "key"), [(xquad, "xquad_en", "id"), (cranfield, "cranfield", "_id")]
)
def test_retrieval_is_ndcg_of_the_first_ten(tmp_path, task, name, key):
    root = tmp_path / name
    write(root / "corpus.jsonl", [{key: x, "title": "", "text": x} for x in "bcd"])
    write(root / "queries.jsonl", [{key: "1", "text": "a"}, {key: "2", "text": "a"}])
    relevant = [("1", "b"), ("2", "b"), ("2", "d")]
    write(root / "qrels.jsonl", [{"query-id": q, "corpus-id": c, "score": 1} for q, c in relevant])
    second = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert task(tmp_path, encode) == pytest.approx((1 + second) / 2)


def test_classification_draws_as_many_of_each_label_and_scores_the_test_texts(tmp_path):
    train = [{"text": f"{x}#{i}", "label": x} for i in range(20) for x in "ad"]
    write(tmp_path / "train.jsonl", train)
    write(tmp_path / "test.jsonl", [{"text": "b", "label": "a"}, {"text": "d", "label": "d"}] * 3)
    asked = []

    def noting(texts):
        asked.append(texts)
        return encode(texts)

    assert classification(tmp_path, noting, 4) == 1
    assert len(asked[0]) <= 40
    assert len(asked[1]) == 6
