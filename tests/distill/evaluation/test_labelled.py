"""Labelled records."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from distill.evaluation.cosines import unit
from distill.evaluation.labelled import average_precision, label_quality, neighbours_vote, split_half
from encoder.errors import InputError


def records(n, noise, seed=0, shares=(0.5, 0.3, 0.2)):
    """Vectors around one centre a label."""
    random = np.random.default_rng(seed)
    labels = random.choice(["blue", "green", "red"][: len(shares)], n, p=shares)
    centres = {"blue": [1, 0, 0], "green": [0, 1, 0], "red": [0, 0, 1]}
    vectors = np.array([centres[label] for label in labels]) + noise * random.standard_normal((n, 3))
    return vectors.astype(np.float32), labels.tolist()


def test_labels_that_lie_apart_are_all_found():
    quality = label_quality(*records(300, 0.05))
    for found in quality:
        assert found.value == pytest.approx(1, abs=0.01)
        assert 145 <= found.n <= 150


def test_labels_that_say_nothing_are_found_by_chance():
    vectors, labels = records(1000, 0.05, shares=(0.9, 0.1))
    np.random.default_rng(5).shuffle(vectors)
    quality = label_quality(vectors, labels)
    assert quality.logistic.value == pytest.approx(0.9, abs=0.01)
    assert quality.average_precision.value == pytest.approx(0.1, abs=0.06)  # of the rarer label
    assert quality.average_precision.low < quality.average_precision.value < quality.average_precision.high


def test_the_vote_is_scikit_learns():
    vectors, labels = records(400, 0.7)
    rows, labels = unit(vectors), np.array(labels)
    theirs = KNeighborsClassifier(9, algorithm="brute").fit(rows[:300], labels[:300]).predict(rows[300:])
    ours = neighbours_vote(rows[:300], labels[:300], rows[300:], 9)
    assert (ours == theirs).mean() > 0.93  # they settle equal votes by the label's name, we by the nearest


def test_equal_votes_go_to_the_nearest():
    known = np.array([[1, 0.0], [0.9, 0.3], [0, 1], [0.1, 1]])
    labels = np.array(["z", "a", "a", "z"])
    assert neighbours_vote(known, labels, np.array([[1, 0.05]]), 4).tolist() == ["z"]


def test_average_precision_is_scikit_learns_with_equal_scores_and_without():
    random = np.random.default_rng(1)
    true = random.random((200, 4)) < 0.2
    for scores in (random.random((200, 4)), random.integers(4, size=(200, 4)).astype(float)):
        expected = average_precision_score(true, scores, average="weighted")
        assert average_precision(scores, true) == pytest.approx(expected)
    assert np.isnan(average_precision(np.ones((3, 1)), np.zeros((3, 1), bool)))


def test_split_half_hold_half_of_each_label_and_share_nothing():
    labels = ["a"] * 7 + ["b"] * 4 + ["alone"]
    known, asked = split_half(labels)
    assert sorted([*known, *asked]) == list(range(12))
    assert sorted(labels[i] for i in asked) == ["a"] * 3 + ["b"] * 2
    assert not np.array_equal(asked, split_half(labels, seed=1)[1])


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a"] * 9])
def test_labels_that_cannot_be_told_apart_are_refused(labels):
    with pytest.raises(InputError, match="fewer than two of them occur twice"):
        split_half(labels)
