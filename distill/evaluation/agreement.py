"""Agreement with a reference model: do both find the same neighbours, and rank similarities alike?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_mean
from distill.evaluation.cosines import nearest, unit
from distill.evaluation.sts import spearman
from encoder.errors import InputError

__all__ = ["NEIGHBOURS", "check_enough", "neighbour_overlap", "rank_correlation"]

NEIGHBOURS = 10

_PAIRS = 20_000  # in a resample; the figure itself uses all pairs
_ROUNDS = 200
_MAX_TEXTS = 5_000  # 12 million pairs


def check_enough(n_texts: int, k: int = NEIGHBOURS) -> None:
    """Check that there are more texts than neighbours.

    Raises:
        InputError: there are k texts or fewer.
    """
    if n_texts <= k:
        raise InputError(f"{n_texts} texts are too few for {k} neighbours of each: give a few hundred")


def neighbour_overlap(vectors: NDArray[Any], reference: NDArray[Any], k: int = NEIGHBOURS) -> Estimate:
    """Estimate the share of a text's k nearest neighbours that both models find, averaged over the texts.

    Args:
        vectors: the model's vectors, `(n_texts, dim)`.
        reference: the reference's vectors of the same texts, `(n_texts, any)`.
        k: the number of neighbours.

    Raises:
        InputError: there are k texts or fewer.
    """
    check_enough(len(vectors), k)
    ours, theirs = (nearest(rows, rows, k, exclude_self=True)[0] for rows in (vectors, reference))
    shared = (ours[:, :, None] == theirs[:, None, :]).any(axis=2).mean(axis=1)
    return bootstrap_mean(shared)


def rank_correlation(vectors: NDArray[Any], reference: NDArray[Any]) -> Estimate:
    """Estimate Spearman's correlation between the two models' cosines over pairs of texts.

    The figure uses all pairs of the first 5,000 texts. Pairs that share a text are not independent, so a
    resample draws texts first, then pairs among them.
    """
    ours, theirs = (_cosines(rows[:_MAX_TEXTS]) for rows in (vectors, reference))
    n_texts = len(ours)
    upper = np.triu_indices(n_texts, 1)
    value = spearman(ours[upper], theirs[upper])
    random = np.random.default_rng(0)

    def resampled(drawn: NDArray[np.int64]) -> float:
        first, second = drawn[random.integers(n_texts, size=(2, _PAIRS))]
        kept = first != second
        first, second = first[kept], second[kept]
        return spearman(ours[first, second], theirs[first, second])

    interval = bootstrap(resampled, n_texts, rounds=_ROUNDS)
    return Estimate(value, interval.low, interval.high, n_texts)


def _cosines(vectors: NDArray[Any]) -> NDArray[np.float32]:
    rows = unit(vectors)
    found: NDArray[np.float32] = rows @ rows.T
    return found
