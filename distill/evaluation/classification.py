"""Few-shot classification by MTEB's protocol: ten logistic regressions on a few texts of each label."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from distill.evaluation.bootstrap import Estimate, bootstrap
from distill.evaluation.sets import Classification

__all__ = ["few_shot_accuracy", "few_shot_draws"]

_EXPERIMENTS, _SEED, _MOST_ITERATIONS = 10, 42, 100


def few_shot_draws(labels: Sequence[str], per_label: int) -> list[list[int]]:
    """Draw the training texts of the ten experiments, up to `per_label` of every label.

    The draws are MTEB's: each one shuffles the order that the previous draw left, with the same seed.
    """
    order = list(range(len(labels)))
    draws = []
    for _ in range(_EXPERIMENTS):
        np.random.RandomState(_SEED).shuffle(order)
        taken: Counter[str] = Counter()
        drawn = []
        for number in order:
            if taken[labels[number]] < per_label:
                drawn.append(number)
                taken[labels[number]] += 1
        draws.append(drawn)
    return draws


def few_shot_accuracy(task: Classification, embed: Callable[[Sequence[str]], NDArray[Any]]) -> Estimate:
    """Estimate the mean accuracy of the ten classifiers on the test texts.

    The interval covers the choice of both the test texts and the training texts.
    """
    labels = task.train.labels
    draws = few_shot_draws(labels, task.per_label)
    needed = sorted(set().union(*draws))
    vectors = dict(zip(needed, np.asarray(embed([task.train.texts[i] for i in needed])), strict=True))
    test, truth = np.asarray(embed(task.test.texts)), np.array(list(task.test.labels))
    hits = []
    for drawn in draws:
        classifier = LogisticRegression(random_state=_SEED, max_iter=_MOST_ITERATIONS)
        classifier.fit(np.stack([vectors[i] for i in drawn]), [labels[i] for i in drawn])
        hits.append(classifier.predict(test) == truth)
    return _mean_over_draws_and_texts(np.array(hits))


def _mean_over_draws_and_texts(hits: NDArray[np.bool_]) -> Estimate:
    """Estimate the mean of `(n_draws, n_texts)`, resampling both axes."""
    n_draws, n_texts = hits.shape
    random = np.random.default_rng(0)

    def resampled(rows: NDArray[np.int64]) -> float:
        draws = random.integers(n_draws, size=n_draws)
        return float(hits[draws].mean(axis=0)[rows].mean())

    interval = bootstrap(resampled, n_texts)
    return Estimate(float(hits.mean()), interval.low, interval.high, n_texts)
