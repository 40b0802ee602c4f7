"""Cosine similarity and nearest neighbours."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest", "unit"]

_MAX_COSINES = 1 << 24  # in memory at a time: 0.3 GB with their order


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scale vectors `(n, dim)` to length 1, float32; zeros stay zeros."""
    rows = np.asarray(vectors, np.float32)
    scaled: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def nearest(
    queries: NDArray[Any], rows: NDArray[Any], k: int, *, exclude_self: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k rows with the highest cosines for each query, nearest first; ties go to the first row.

    Args:
        queries: `(n_queries, dim)`.
        rows: `(n_rows, dim)`.
        k: the number of neighbours, limited to the number of rows.
        exclude_self: the queries are the rows, and no row is its own neighbour.

    Returns:
        The indices of the rows and their cosines, both `(n_queries, k)`.
    """
    queries, rows = unit(queries), unit(rows)
    k = min(k, len(rows) - exclude_self)
    numbers, cosines = [], []
    block = max(_MAX_COSINES // max(len(rows), 1), 1)
    for first in range(0, len(queries), block):
        found = queries[first : first + block] @ rows.T
        if exclude_self:
            own = np.arange(len(found))
            found[own, first + own] = -np.inf
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        numbers.append(order)
        cosines.append(np.take_along_axis(found, order, axis=1))
    return np.concatenate(numbers), np.concatenate(cosines)
