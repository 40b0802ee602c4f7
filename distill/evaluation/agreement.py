"""Agreement with a reference model, which needs no label: are the same texts near, in the same order?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_mean
from distill.evaluation.cosines import nearest, unit
from distill.evaluation.sts import spearman
from encoder.errors import InputError

__all__ = ["NEIGHBOURS", "check_enough", "neighbour_overlap", "rank_correlation"]

NEIGHBOURS = 10

_PAIRS = 20_000  # of a resample; the figure itself is of all pairs
_ROUNDS = 200
_TEXTS = 5_000  # whose pairs are all counted, 12 million


def check_enough(n_texts: int, k: int = NEIGHBOURS) -> None:
    """Refuse to look for neighbours among hardly more texts than neighbours.

    Raises:
        InputError: there are k texts or fewer.
    """
    if n_texts <= k:
        raise InputError(f"{n_texts} texts are too few for {k} neighbours of each: give some hundreds")


def neighbour_overlap(vectors: NDArray[Any], reference: NDArray[Any], k: int = NEIGHBOURS) -> Estimate:
    """The share of each text's k nearest texts that the two models agree on, the mean over the texts.

    Args:
        vectors: the model's, `(n_texts, dim)`.
        reference: the reference's of the same texts, `(n_texts, any dim)`.
        k: neighbours of a text.

    Raises:
        InputError: there are k texts or fewer.
    """
    check_enough(len(vectors), k)
    ours, theirs = (nearest(rows, rows, k, itself=False)[0] for rows in (vectors, reference))
    shared = (ours[:, :, None] == theirs[:, None, :]).any(axis=2).mean(axis=1)
    return bootstrap_mean(shared)


def rank_correlation(vectors: NDArray[Any], reference: NDArray[Any]) -> Estimate:
    """Spearman's correlation between the two models' cosines of pairs of texts.

    The figure is of all pairs of the first 5,000 texts. Pairs share texts, so a resample draws texts, and
    then pairs among these.
    """
    ours, theirs = (_cosines(rows[:_TEXTS]) for rows in (vectors, reference))
    n_texts = len(ours)
    upper = np.triu_indices(n_texts, 1)
    value = spearman(ours[upper], theirs[upper])
    random = np.random.default_rng(0)

    def of(drawn: NDArray[np.int64]) -> float:
        first, second = drawn[random.integers(n_texts, size=(2, _PAIRS))]
        kept = first != second
        first, second = first[kept], second[kept]
        return spearman(ours[first, second], theirs[first, second])

    around = bootstrap(of, n_texts, rounds=_ROUNDS)
    return Estimate(value, around.low, around.high, n_texts)


def _cosines(vectors: NDArray[Any]) -> NDArray[np.float32]:
    rows = unit(vectors)
    found: NDArray[np.float32] = rows @ rows.T
    return found
