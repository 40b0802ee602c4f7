"""Held-out folds: nothing that was seen is held out, and every label is in each."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.heads.examples import FOLDS, MIN_TEXTS, Examples, embed, folds_of
from encoder import Encoder
from encoder.errors import InputError
from encoder.model import StaticModel


def examples(labels, texts=None):
    n = len(labels)
    texts = np.arange(n) if texts is None else np.array(texts)
    return Examples(np.zeros((n, 2), np.float32), tuple(labels), texts)


@given(
    counts=st.lists(st.integers(MIN_TEXTS, 40), min_size=1, max_size=5),
    copies=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_each_fold_has_every_label_and_all_copies_of_a_text(counts, copies, seed):
    once = [(f"label {k}",) for k, count in enumerate(counts) for _ in range(count)]
    some = examples(once * copies, list(range(len(once))) * copies)
    folds = folds_of(some, seed=seed)
    assert np.array_equal(folds.reshape(copies, -1), np.tile(folds[: len(once)], (copies, 1)))
    for fold in range(FOLDS):
        assert {some.labels[row] for row in np.flatnonzero(folds == fold)} == set(once)
    sizes = Counter(folds[: len(once)].tolist()).values()
    assert max(sizes) - min(sizes) <= 1


def test_a_label_that_comes_second_with_a_text_is_in_every_fold_too():
    common = [("often",)] * 60
    some = examples([*common, *[("rare",)] * 5], [*range(60), *range(5)])  # texts of both
    for seed in range(20):
        folds = folds_of(some, seed=seed)
        assert set(folds[60:].tolist()) == set(range(FOLDS))


def test_labels_are_counted_by_distinct_texts():
    some = examples([("a",), ("a",), ("a", "b"), ()], [0, 0, 1, 2])
    assert some.counts() == {"a": 2, "b": 1}
    assert some.targets(["b", "a"]).tolist() == [[False, True], [False, True], [True, True], [False, False]]


def test_texts_are_embedded_at_length_1_and_known_again(tiny_static):
    some = embed(tiny_static, ["card", "disk card", "card", ""], [("x",), ("y",), ("x",), ()])
    assert some.texts.tolist() == [0, 1, 0, 2]
    np.testing.assert_allclose(np.linalg.norm(some.vectors, axis=1), [1, 1, 1, 0], atol=1e-6)


def test_no_records_are_refused(tiny_static):
    with pytest.raises(InputError, match="there are no labelled records"):
        embed(tiny_static, [], [])


@pytest.fixture
def tiny_static():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "card": 1, "disk": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return Encoder(StaticModel(np.eye(3, dtype=np.float32) * 7, tokenizer.to_str(), {"normalize": False}))
