"""Cells of known cases: spherical k-means, so that a record is compared with some of many cases only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.scoring import unit_vectors
from encoder.heads.vector_index import Cells, Index

__all__ = ["FEW", "in_cells"]

FEW = 50_000
"""So many cases are searched exactly: more than 30,000 records a second on one core."""

_ROUNDS = 8
_SAMPLE = 64  # cases for each cell
_AT_ONCE = 1 << 16  # vectors in float32
_SEED = 0


def in_cells(vectors: NDArray[np.float16]) -> tuple[NDArray[np.int64], Cells]:
    """Put vectors into about as many cells as the root of their number.

    Args:
        vectors: `(n, dim)` of length 1, at least one.

    Returns:
        `(n,)` the order of the vectors that puts those of a cell beside each other and keeps it otherwise;
        and the cells, none of which is empty.
    """
    random = np.random.default_rng(_SEED)
    n_cells = round(len(vectors) ** 0.5)
    sample = vectors[random.permutation(len(vectors))[: n_cells * _SAMPLE]]
    centroids = sample[:n_cells]
    for _ in range(_ROUNDS):
        order, ends = _grouped(_nearest(centroids, sample))
        sums = np.add.reduceat(sample[order].astype(np.float32), ends[:-1])
        centroids = unit_vectors(sums).astype(np.float16)
    found = _nearest(centroids, vectors)
    order, ends = _grouped(found)
    return order, Cells(centroids[np.unique(found)], ends)


def _nearest(centroids: NDArray[np.float16], vectors: NDArray[np.float16]) -> NDArray[np.int32]:
    """The nearest centroid of each vector, the first of equals."""
    index, shape = Index(centroids), (len(vectors), 1)
    found: Any = np.empty(shape, np.int32), np.empty(shape, np.float32)
    for first in range(0, len(vectors), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        index.search(vectors[some].astype(np.float32), *(array[some] for array in found))
    return found[0][:, 0]  # type: ignore[no-any-return] # it is int32


def _grouped(cell: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order that sorts cells, and where each that is not empty begins, and the last one ends."""
    _, counts = np.unique(cell, return_counts=True)
    return np.argsort(cell, kind="stable"), np.concatenate([[0], np.cumsum(counts)])
