"""The targets of the fit: the teacher's vectors in fewer dimensions, normalised to length 1."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from distill.teacher.vector_cache import TeacherVectors

__all__ = ["BLOCK", "Targets", "blocks", "longest_axes", "principal_axes", "second_moment"]

BLOCK = 8192
"""The number of texts whose vectors are in memory at a time."""


def blocks(n_texts: int) -> Iterator[slice]:
    """Yield slices of `BLOCK` texts."""
    return (slice(first, min(first + BLOCK, n_texts)) for first in range(0, n_texts, BLOCK))


def principal_axes(vectors: TeacherVectors, dims: float | None) -> NDArray[np.float32]:
    """Return the `longest_axes` of the teacher's vectors."""
    moment = second_moment((vectors[some] for some in blocks(len(vectors))), vectors.dim)
    return longest_axes(moment, dims)


def second_moment(rows: Iterable[NDArray[np.float32]], dim: int) -> NDArray[np.float64]:
    """Return the sum of the vectors' outer products, `(dim, dim)`, over blocks of vectors `(n, dim)`."""
    moment = np.zeros((dim, dim))
    for block in rows:
        exact = block.astype(np.float64)
        moment += exact.T @ exact
    return moment


def longest_axes(moment: NDArray[np.float64], dims: float | None) -> NDArray[np.float32]:
    """Return the axes along which vectors are longest, in descending order, `(dim, k)` float32, orthonormal.

    This is PCA without centring, because cosines are measured from the origin. The sign of an axis makes its
    largest entry by magnitude positive.

    Args:
        moment: the vectors' `second_moment`, `(dim, dim)`.
        dims: the number of axes; below 1, the share of the squared lengths to keep; None for all axes.
    """
    squares, axes = np.linalg.eigh(moment)
    squares, axes = squares[::-1].clip(min=0), axes[:, ::-1]  # the largest first
    if dims is not None and dims < 1:
        dims = int(np.searchsorted(np.cumsum(squares) / squares.sum(), dims)) + 1
    axes = axes[:, : len(moment) if dims is None else int(min(dims, len(moment)))]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    signed: NDArray[np.float32] = (axes * np.sign(largest)).astype(np.float32)
    return signed


class Targets:
    """The teacher's vectors along some axes, normalised to length 1, computed on access.

    Attributes:
        dim: the number of axes.
    """

    def __init__(self, vectors: TeacherVectors, axes: NDArray[np.float32]) -> None:
        self._vectors, self._axes = vectors, axes
        self.dim = int(axes.shape[1])

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, texts: slice) -> NDArray[np.float32]:
        """Return the targets of some texts, `(n, dim)` float32."""
        rows = self._vectors[texts] @ self._axes
        found: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return found
