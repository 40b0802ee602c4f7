"""Labelled records: how well nearest neighbours and a linear classifier predict the labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_mean
from distill.evaluation.cosines import nearest, unit
from encoder.errors import InputError

__all__ = ["LabelQuality", "average_precision", "label_quality", "neighbours_vote", "split_half"]

_NEIGHBOURS = 10
_C = 10.0  # inverse regularisation: vectors of length 1 need less regularisation than raw ones
_MAX_ITERATIONS = 1000
_ROUNDS = 200  # of average precision, which sorts all records in each round


class LabelQuality(NamedTuple):
    """Figures on the test half of labelled records.

    Attributes:
        knn: accuracy of the majority vote of the 10 nearest training records.
        logistic: accuracy of a logistic regression.
        average_precision: average precision of the logistic regression.
    """

    knn: Estimate
    logistic: Estimate
    average_precision: Estimate


def label_quality(vectors: NDArray[Any], labels: Sequence[str], *, seed: int = 0) -> LabelQuality:
    """Train classifiers on half of the records and test them on the other half.

    Args:
        vectors: `(n_records, dim)`.
        labels: the label of each record.
        seed: random seed of the split.

    Raises:
        InputError: fewer than two labels occur at least twice.
    """
    train, test = split_half(labels, seed=seed)
    truth = np.array(labels)
    rows = unit(vectors)
    hits = neighbours_vote(rows[train], truth[train], rows[test]) == truth[test]
    classifier = LogisticRegression(C=_C, max_iter=_MAX_ITERATIONS)
    probabilities = classifier.fit(rows[train], truth[train]).predict_proba(rows[test])
    predicted = classifier.classes_[probabilities.argmax(axis=1)]
    is_label = truth[test][:, None] == classifier.classes_
    columns = slice(None)
    if len(classifier.classes_) == 2:
        rarer = int(is_label.sum(axis=0).argmin())
        columns = slice(rarer, rarer + 1)
    probabilities, is_label = probabilities[:, columns], is_label[:, columns]
    return LabelQuality(
        knn=bootstrap_mean(hits),
        logistic=bootstrap_mean(predicted == truth[test]),
        average_precision=bootstrap(
            lambda drawn: average_precision(probabilities[drawn], is_label[drawn]),
            len(test),
            rounds=_ROUNDS,
        ),
    )


def split_half(labels: Sequence[str], *, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split records at random into halves for training and testing, each label separately.

    Raises:
        InputError: fewer than two labels occur at least twice.
    """
    random = np.random.default_rng(seed)
    train, test = [], []
    names, numbers = np.unique(np.array(labels), return_inverse=True)
    for name in range(len(names)):
        rows = random.permutation(np.flatnonzero(numbers == name))
        middle = (len(rows) + 1) // 2
        train.append(rows[:middle])
        test.append(rows[middle:])
    if sum(len(rows) > 0 for rows in test) < 2:
        raise InputError(
            f"the {len(labels)} records have {len(names)} labels, and fewer than two of them occur twice: "
            "give more records, or another field as the label"
        )
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def neighbours_vote(
    train: NDArray[Any], labels: NDArray[Any], test: NDArray[Any], k: int = _NEIGHBOURS
) -> NDArray[Any]:
    """Predict the most frequent label of the k nearest training rows; ties go to the nearest row.

    Args:
        train: `(n_train, dim)`.
        labels: `(n_train,)`.
        test: `(n_test, dim)`.
        k: the number of neighbours.

    Returns:
        `(n_test,)` labels.
    """
    names, numbers = np.unique(labels, return_inverse=True)
    found, _ = nearest(test, train, k)
    votes = np.zeros((len(test), len(names)))
    rows = np.arange(len(test))
    for column in found.T:
        votes[rows, numbers[column]] += 1
    ballots = np.take_along_axis(votes, numbers[found], axis=1)  # the votes for each neighbour's label
    winners: NDArray[Any] = names[numbers[found[rows, ballots.argmax(axis=1)]]]
    return winners


def average_precision(scores: NDArray[Any], is_label: NDArray[np.bool_]) -> float:
    """Compute the average precision of scores, weighting labels by their frequency; NaN without any label.

    Equals `sklearn.metrics.average_precision_score(average="weighted")`. Rare labels, whose precision varies
    most, count little.

    Args:
        scores: `(n_records, n_labels)`.
        is_label: `(n_records, n_labels)` bool, the true labels.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked, true = np.take_along_axis(scores, order, 0), np.take_along_axis(is_label, order, 0)
    found = np.cumsum(true, axis=0)
    precision = found / np.arange(1, len(scores) + 1)[:, None]
    # Records with equal scores share the precision at the last of them.
    for column in range(scores.shape[1]):
        last = np.searchsorted(-ranked[:, column], -ranked[:, column], side="right") - 1
        precision[:, column] = precision[last, column]
    total = int(true.sum())
    return float((precision * true).sum() / total) if total else float("nan")
