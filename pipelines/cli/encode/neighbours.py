"""The lines that are nearest to a text, found while the lines go by."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Neighbour", "Neighbours"]


class Neighbour(NamedTuple):
    """A line, and the cosine of its vector and the text's."""

    cosine: float
    text: str


class Neighbours:
    """Keeps the lines with the highest cosines; a line that repeats is kept once.

    Args:
        vector: `(dim,)` float32, of the text; not zero.
        top: how many lines to keep.
    """

    def __init__(self, vector: NDArray[np.float32], top: int) -> None:
        self._vector = vector / np.linalg.norm(vector)
        self._top = top
        self._kept: dict[str, float] = {}  # the nearest first

    def add(self, texts: pa.ChunkedArray, vectors: NDArray[np.float32]) -> None:
        """Look at `n` lines and their vectors, `(n, dim)` float32; a vector of zeros is near to nothing."""
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        cosines = vectors @ self._vector
        np.divide(cosines, lengths, out=cosines, where=lengths > 0)
        cosines[lengths == 0] = -np.inf
        least = min(self._kept.values()) if len(self._kept) == self._top else -np.inf
        rows = np.flatnonzero(cosines > least)
        found: dict[str, float] = {}
        for row in rows[np.argsort(-cosines[rows], kind="stable")]:
            found.setdefault(texts[row].as_py(), float(cosines[row]))
            if len(found) == self._top:
                break
        best = sorted((self._kept | found).items(), key=lambda item: -item[1])
        self._kept = dict(best[: self._top])

    def nearest(self) -> list[Neighbour]:
        """The lines that were kept, the nearest first."""
        return [Neighbour(cosine, text) for text, cosine in self._kept.items()]
