"""Cosines between texts' vectors, and who is nearest to whom."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest", "unit"]

_CELLS = 1 << 24  # cosines that are in memory at a time, 0.3 GB with their order


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors `(n, dim)` at length 1, float32; zeros stay zeros."""
    rows = np.asarray(vectors, np.float32)
    scaled: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def nearest(
    queries: NDArray[Any], rows: NDArray[Any], k: int, *, itself: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows with the highest cosines for each query, the nearest first; of equal ones the first.

    Args:
        queries: `(n_queries, dim)`.
        rows: `(n_rows, dim)`.
        k: how many; at most as many as there are.
        itself: False where queries are the rows, and none is to be its own neighbour.

    Returns:
        Numbers of rows and their cosines, `(n_queries, k)` both.
    """
    asked, known = unit(queries), unit(rows)
    k = min(k, len(known) - (not itself))
    numbers, cosines = [], []
    block = max(_CELLS // max(len(known), 1), 1)
    for first in range(0, len(asked), block):
        found = asked[first : first + block] @ known.T
        if not itself:
            own = np.arange(len(found))
            found[own, first + own] = -np.inf
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        numbers.append(order)
        cosines.append(np.take_along_axis(found, order, axis=1))
    return np.concatenate(numbers), np.concatenate(cosines)
