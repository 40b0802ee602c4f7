"""The variance of vectors over dimensions, and the lengths of token vectors over frequencies."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.model import StaticModel

__all__ = ["LengthClass", "component_shares", "dimension_shares", "length_classes", "token_lengths"]


class LengthClass(NamedTuple):
    """The lengths of token vectors in a class of similar frequency.

    Attributes:
        frequency: the geometric mean of the class's bounds.
        n_tokens: the number of tokens.
        low: the 10th percentile of the lengths.
        median: the median length.
        high: the 90th percentile of the lengths.
    """

    frequency: float
    n_tokens: int
    low: float
    median: float
    high: float


def component_shares(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return the cumulative share of the variance over principal components, `(dim,)`."""
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(axis=0)
    return _shares(np.linalg.svd(centred, compute_uv=False) ** 2)


def dimension_shares(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return the cumulative share of the variance over the dimensions in their order, `(dim,)`."""
    return _shares(np.asarray(vectors, np.float64).var(axis=0))


def _shares(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    total = variances.sum()
    shares: NDArray[np.float64] = np.cumsum(variances) / total if total > 0 else np.ones(len(variances))
    return shares


def token_lengths(model: StaticModel) -> NDArray[np.float64]:
    """Return the lengths of the weighted token vectors, `(n_tokens,)`, scaled to a mean of 1."""
    lengths = np.linalg.norm(model.table.astype(np.float32), axis=1)
    if model.mapping is not None:
        lengths = lengths[model.mapping]
    if model.weights is not None:
        lengths = lengths[: len(model.weights)] * model.weights[: len(lengths)]
    found: NDArray[np.float64] = lengths.astype(np.float64) / max(float(lengths.mean()), 1e-12)
    return found


def length_classes(lengths: NDArray[np.float64], counts: NDArray[np.int64]) -> list[LengthClass]:
    """Group tokens into classes of doubling frequency.

    Args:
        lengths: the lengths of the token vectors, `(n_tokens,)`.
        counts: the frequency of each token, `(n_tokens,)`; tokens with 0 are left out.
    """
    occurs = counts > 0
    classes = np.log2(counts[occurs]).astype(np.int64)
    found = []
    for number in np.unique(classes):
        some = lengths[occurs][classes == number]
        low, median, high = np.quantile(some, [0.1, 0.5, 0.9])
        found.append(LengthClass(2 ** (number + 0.5), len(some), float(low), float(median), float(high)))
    return found
