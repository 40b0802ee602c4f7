"""How vectors spread over dimensions, and the lengths of tokens' vectors over their frequencies."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.model import StaticModel

__all__ = ["LengthClass", "component_shares", "dimension_shares", "length_classes", "token_lengths"]


class LengthClass(NamedTuple):
    """Tokens that are about as frequent.

    Attributes:
        frequency: how often the class's tokens come, the geometric middle of its bounds.
        n_tokens: how many there are.
        low: the length of a token's vector that 10 % are below.
        median: the length that half are below.
        high: the length that 90 % are below.
    """

    frequency: float
    n_tokens: int
    low: float
    median: float
    high: float


def component_shares(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """The share of the variance that the first principal components hold together, `(dim,)`, rising to 1."""
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(axis=0)
    return _shares(np.linalg.svd(centred, compute_uv=False) ** 2)


def dimension_shares(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """The share of the variance that the first dimensions hold together, as they stand, `(dim,)`."""
    return _shares(np.asarray(vectors, np.float64).var(axis=0))


def _shares(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    total = variances.sum()
    shares: NDArray[np.float64] = np.cumsum(variances) / total if total > 0 else np.ones(len(variances))
    return shares


def token_lengths(model: StaticModel) -> NDArray[np.float64]:
    """The lengths of the tokens' vectors, weights included, `(n_tokens,)`, the mean 1."""
    lengths = np.linalg.norm(model.table.astype(np.float32), axis=1)
    if model.mapping is not None:
        lengths = lengths[model.mapping]
    if model.weights is not None:
        lengths = lengths[: len(model.weights)] * model.weights[: len(lengths)]
    found: NDArray[np.float64] = lengths.astype(np.float64) / max(float(lengths.mean()), 1e-12)
    return found


def length_classes(lengths: NDArray[np.float64], counts: NDArray[np.int64]) -> list[LengthClass]:
    """Classes of tokens by how often they come, each twice as often as the one before.

    Args:
        lengths: of the tokens' vectors, `(n_tokens,)`.
        counts: how often each comes; those that never do are left out.
    """
    there = counts > 0
    classes = np.log2(counts[there]).astype(np.int64)
    found = []
    for number in np.unique(classes):
        some = lengths[there][classes == number]
        low, median, high = np.quantile(some, [0.1, 0.5, 0.9])
        found.append(LengthClass(2 ** (number + 0.5), len(some), float(low), float(median), float(high)))
    return found
