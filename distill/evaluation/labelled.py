"""The user's own labelled records: how well neighbours and a linear classifier tell the labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_mean
from distill.evaluation.cosines import nearest, unit
from encoder.errors import InputError

__all__ = ["LabelQuality", "average_precision", "halves", "label_quality", "neighbours_vote"]

_NEIGHBOURS = 10
_STRENGTH = 10.0  # the inverse of the regularisation: vectors of length 1 need less of it than raw ones
_MOST_ITERATIONS = 1000
_ROUNDS = 200  # of the average precision, which sorts all records in each


class LabelQuality(NamedTuple):
    """Figures on labelled records, each on the half that was not learnt from.

    Attributes:
        knn: accuracy of the majority among the 10 nearest records.
        logistic: accuracy of a logistic regression.
        average_precision: of the logistic regression's ranking.
    """

    knn: Estimate
    logistic: Estimate
    average_precision: Estimate


def label_quality(vectors: NDArray[Any], labels: Sequence[str], *, seed: int = 0) -> LabelQuality:
    """Learn from one half of the records, ask about the other.

    Args:
        vectors: `(n_records, dim)`.
        labels: of each record.
        seed: of the halves.

    Raises:
        InputError: there are fewer than two labels that come twice.
    """
    known, asked = halves(labels, seed=seed)
    truth = np.array(labels)
    rows = unit(vectors)
    hits = neighbours_vote(rows[known], truth[known], rows[asked]) == truth[asked]
    classifier = LogisticRegression(C=_STRENGTH, max_iter=_MOST_ITERATIONS)
    chances = classifier.fit(rows[known], truth[known]).predict_proba(rows[asked])
    predicted = classifier.classes_[chances.argmax(axis=1)]
    is_label = truth[asked][:, None] == classifier.classes_
    columns = slice(None)
    if len(classifier.classes_) == 2:
        rarer = int(is_label.sum(axis=0).argmin())
        columns = slice(rarer, rarer + 1)
    chances, is_label = chances[:, columns], is_label[:, columns]
    return LabelQuality(
        knn=bootstrap_mean(hits),
        logistic=bootstrap_mean(predicted == truth[asked]),
        average_precision=bootstrap(
            lambda drawn: average_precision(chances[drawn], is_label[drawn]), len(asked), rounds=_ROUNDS
        ),
    )


def halves(labels: Sequence[str], *, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split records at random such that each label has one half in each; the odd one is in the first.

    Raises:
        InputError: fewer than two labels come twice.
    """
    random = np.random.default_rng(seed)
    known, asked = [], []
    names, numbers = np.unique(np.array(labels), return_inverse=True)
    for name in range(len(names)):
        rows = random.permutation(np.flatnonzero(numbers == name))
        middle = (len(rows) + 1) // 2
        known.append(rows[:middle])
        asked.append(rows[middle:])
    if sum(len(rows) > 0 for rows in asked) < 2:
        raise InputError(
            f"the {len(labels)} records have {len(names)} labels, and fewer than two that come twice: give "
            "more records, or another field as the label"
        )
    return np.sort(np.concatenate(known)), np.sort(np.concatenate(asked))


def neighbours_vote(
    known: NDArray[Any], labels: NDArray[Any], asked: NDArray[Any], k: int = _NEIGHBOURS
) -> NDArray[Any]:
    """The label that most of the k nearest known rows have; of equal ones, that of the nearest row.

    Args:
        known: `(n_known, dim)`.
        labels: `(n_known,)`.
        asked: `(n_asked, dim)`.
        k: how many neighbours vote.

    Returns:
        `(n_asked,)` labels.
    """
    names, numbers = np.unique(labels, return_inverse=True)
    found, _ = nearest(asked, known, k)
    votes = np.zeros((len(asked), len(names)))
    rows = np.arange(len(asked))
    for column in found.T:
        votes[rows, numbers[column]] += 1
    ballots = np.take_along_axis(votes, numbers[found], axis=1)  # how many agree with each neighbour
    winners: NDArray[Any] = names[numbers[found[rows, ballots.argmax(axis=1)]]]
    return winners


def average_precision(scores: NDArray[Any], is_label: NDArray[np.bool_]) -> float:
    """The average precision of labels' scores, each label counting as often as it comes.

    It is `sklearn.metrics.average_precision_score(average="weighted")`. Rare labels, which one record more or
    less changes much, so count little.

    Args:
        scores: `(n_records, n_labels)`.
        is_label: `(n_records, n_labels)`, what is true; NaN if nothing is.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked, true = np.take_along_axis(scores, order, 0), np.take_along_axis(is_label, order, 0)
    found = np.cumsum(true, axis=0)
    precision = found / np.arange(1, len(scores) + 1)[:, None]
    # Records of equal scores count together: all have the precision at the last of them.
    for column in range(scores.shape[1]):
        last = np.searchsorted(-ranked[:, column], -ranked[:, column], side="right") - 1
        precision[:, column] = precision[last, column]
    total = int(true.sum())
    return float((precision * true).sum() / total) if total else float("nan")
