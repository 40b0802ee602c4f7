"""Scores equal scikit-learn's, and a head scores the same alone and among others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from encoder.errors import ConfigurationError, InputError
from encoder.heads.scoring import Classifier, Heads, Novelty, Prototypes, unit_vectors


def unit(n, dim, seed=0):
    return unit_vectors(np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32))


def classifier(n_labels=3, dim=8, seed=0, **options):
    random = np.random.default_rng(seed)
    weights = random.normal(size=(n_labels, dim)).astype(np.float32) * 5
    labels = tuple("abcdefghij"[:n_labels])
    return Classifier("kind", labels, weights, random.normal(size=n_labels).astype(np.float32), **options)


@given(
    n_labels=st.integers(2, 8), dim=st.integers(2, 40), scale=st.floats(0.01, 20), seed=st.integers(0, 999)
)
def test_probabilities_are_those_of_scikit_learn(n_labels, dim, scale, seed):
    random = np.random.default_rng(seed)
    model = LogisticRegression()
    rows = 1 if n_labels == 2 else n_labels
    model.coef_ = scale * random.normal(size=(rows, dim)) / np.sqrt(dim)
    model.intercept_ = random.normal(size=rows)
    model.classes_ = np.arange(n_labels)
    weights, bias = model.coef_, model.intercept_
    if n_labels == 2:  # scikit-learn keeps one row for two labels
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    labels = tuple(map(str, range(n_labels)))
    head = Classifier("kind", labels, weights.astype(np.float32), bias.astype(np.float32))
    vectors = unit(50, dim, seed)
    expected = model.predict_proba(vectors.astype(np.float64))
    (found,) = Heads([head])(vectors)
    np.testing.assert_allclose(found.score, expected.max(axis=1), atol=1e-6)
    logits = weights.astype(np.float32) @ vectors.T + bias.astype(np.float32)[:, None]
    np.testing.assert_allclose(head.probabilities(logits).T, expected, atol=1e-6)
    sure = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 1e-5
    assert np.array_equal(found.label[sure], expected.argmax(axis=1)[sure])


def test_sigmoids_of_one_label_are_divided_by_their_sum_and_of_several_are_not():
    vectors = unit(20, 8)
    one, several = classifier(link="sigmoid"), classifier(link="sigmoid", multi_label=True)
    alone = 1 / (1 + np.exp(-(several.weights @ vectors.T + several.bias[:, None])))
    (tagged,) = Heads([several])(vectors)
    np.testing.assert_allclose(tagged.scores, alone, atol=1e-6)
    (labelled,) = Heads([one])(vectors)
    np.testing.assert_allclose(labelled.score, (alone / alone.sum(axis=0)).max(axis=0), atol=1e-6)
    assert np.array_equal(labelled.label, alone.argmax(axis=0))


def test_curves_give_probabilities_between_and_beyond_their_points():
    curve = (np.array([-1, 1], np.float32), np.array([0.2, 0.6], np.float32))
    head = Classifier(
        "kind", ("a",), np.ones((1, 1), np.float32), np.zeros(1, np.float32), "isotonic", True, (curve,)
    )
    found = head.probabilities(np.array([[-5, -1, 0, 1, 9]], np.float32))
    np.testing.assert_allclose(found, [[0.2, 0.2, 0.4, 0.6, 0.6]], atol=1e-6)


def test_where_no_label_has_any_probability_all_have_the_same():
    curve = (np.zeros(1, np.float32), np.zeros(1, np.float32))
    head = classifier(2, 1, link="isotonic", curves=(curve, curve))
    assert head.outcome(np.zeros((2, 3), np.float32)).score.tolist() == [0.5] * 3


def test_logits_without_measure_give_no_warning():
    head = classifier(2, 1, link="sigmoid", multi_label=True)
    assert head.probabilities(np.array([[-1e30], [1e30]], np.float32)).ravel().tolist() == [
        pytest.approx(0, abs=1e-30),
        1,
    ]


def test_prototypes_name_the_nearest_that_is_near():
    head = Prototypes("incident", ("x", "y"), np.eye(2, dtype=np.float32), 0.8)
    vectors = unit_vectors(np.array([[1, 0], [0.1, 1], [1, 1], [-1, 0]], np.float32))
    (found,) = Heads([head])(vectors)
    assert found.nearest.tolist() == [0, 1, -1, -1]
    np.testing.assert_allclose(found.similarity, vectors.max(axis=1), atol=1e-6)


def test_novelty_is_the_square_root_of_its_form():
    head = Novelty(
        "odd",
        np.array([[1, 0], [0, 2]], np.float32),
        np.array([0.5, 1], np.float32),
        np.array([4], np.float32),
        1.6,
    )
    (found,) = Heads([head])(np.array([[1, 0], [0, 1], [0, -1]], np.float32))
    squares = [1 + 4 * 1.5**2, 3 + 4 * 0.5**2, -1 + 4 * 0.5**2]
    np.testing.assert_allclose(found.distance, np.sqrt(squares), rtol=1e-6)
    assert found.novel.tolist() == [True, True, False]


def test_a_head_says_the_same_alone_and_among_others():
    heads = [classifier(), Prototypes("b", ("x", "y"), unit(2, 8, 3), 0.1), classifier(link="sigmoid")]
    named = [replace(heads[0], name="c"), heads[1], replace(heads[2], name="a")]
    vectors = unit(30, 8, 5)
    together = Heads(named)
    assert together.names == ("a", "b", "c")
    for head, outcome in zip(together.heads, together(vectors), strict=True):
        (alone,) = Heads([head])(vectors)
        assert all(np.array_equal(x, y) for x, y in zip(alone, outcome, strict=True))
    (chosen,) = together.only(["b"]).heads
    assert chosen is heads[1]


def test_vectors_of_any_length_are_scored_at_length_1():
    head, vectors = classifier(), unit(10, 8)
    lengths = np.arange(10, dtype=np.float32)[:, None]
    (found,), (expected,) = Heads([head], unit=False)(vectors * lengths), Heads([head])(vectors)
    np.testing.assert_allclose(found.score[1:], expected.score[1:], atol=1e-6)
    assert np.isfinite(found.score[0])  # zeros stay zeros: the bias alone


def test_no_texts_have_no_scores():
    several = classifier(multi_label=True, link="sigmoid")
    heads = Heads([classifier(), Prototypes("b", ("x",), unit(1, 8), 0.1), several])
    assert [len(outcome[0].T) for outcome in heads(np.zeros((0, 8), np.float32))] == [0, 0, 0]
    assert Heads()(np.zeros((3, 8), np.float32)) == []


def test_errors_name_missing_heads_and_wrong_vectors():
    heads = Heads([classifier()])
    with pytest.raises(ConfigurationError, match="no head 'fraud': it has kind"):
        heads.only(["fraud"])
    with pytest.raises(ConfigurationError, match="it has none"):
        Heads().only(["fraud"])
    for vectors in (unit(3, 7), unit(3, 8).astype(np.float16)):
        with pytest.raises(InputError, match="heads score vectors of 8 float32, not"):
            heads(vectors)
