"""An index of vectors, such as those of known cases: int8 codes, in cells if there are many.

Without cells a search is exact. With cells it is exact among the cases in those cells whose centroids are
nearest to a vector, and which hold a fifth of all rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.codes import LONGEST, Queries, encode_queries, encode_rows
from encoder.kernels.cosines import PANEL
from encoder.kernels.nearest import Table, choose_cells, nearest

__all__ = ["Cells", "Index"]

SHARE = 0.2
"""The share of cases that a vector is compared with if they are in cells."""

_AT_ONCE = 1024  # vectors whose codes stay in the second cache
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cells:
    """A partition of rows: those of a cell stand one after the other, and are near its centroid.

    Attributes:
        centroids: `(n_cells, dim)` float16 of at most length 1.
        ends: `(n_cells + 1,)` int64, where each cell begins, and where the last one ends.
        codes: `(n_panels, n_steps, 64, 4)` uint8, as `Index` makes them; None until then.
    """

    centroids: NDArray[np.float16]
    ends: NDArray[np.int64]
    codes: NDArray[np.uint8] | None = None


class Index:
    """Finds the rows with the largest scalar products.

    Attributes:
        codes: `(n_panels, n_steps, 64, 4)` uint8, int8 codes of the rows.
    """

    def __init__(self, rows: NDArray[np.float16], cells: Cells | None = None) -> None:
        """Build it, or check the codes that cells have.

        Args:
            rows: `(n_rows, dim)`, of at most length 1.
            cells: the rows' cells, or None for an exact search.

        Raises:
            ValueError: a row is longer, or the codes are not those of the rows.
        """
        n_rows, dim = rows.shape
        ends = np.array([0, n_rows] if cells is None else cells.ends)
        panels = np.concatenate([[0], np.cumsum(-(-np.diff(ends) // PANEL))])
        shape = (int(panels[-1]), -(-dim // 4), PANEL, 4)
        given = None if cells is None else cells.codes
        if given is not None and given.shape != shape:
            raise ValueError(f"its index has shape {given.shape}: it must be {shape}")
        self.codes: NDArray[np.uint8] = np.zeros(shape, np.uint8) if given is None else given
        scales = np.zeros(shape[::2], np.float32)
        errors = np.full(shape[::2], -np.inf, np.float32)
        table: NDArray[np.uint16] = np.ascontiguousarray(rows).view(np.uint16)
        table.flags.writeable = False  # as in memory-mapped files: kernels are compiled for one kind
        room = np.empty(dim, np.float32), np.empty(dim, np.int8)
        for row, stop, panel, end in zip(ends[:-1], ends[1:], panels[:-1], panels[1:], strict=True):
            codes = self.codes[panel:end] if given is None else np.zeros((end - panel, *shape[1:]), np.uint8)
            longest = encode_rows(table[row:stop], codes, scales[panel:end], errors[panel:end], *room)
            if longest > LONGEST:
                raise ValueError("its vectors do not have length 1")
            if given is not None and not np.array_equal(codes, given[panel:end]):
                raise ValueError("its index is not that of its vectors")
        shared = self.codes.view()
        shared.flags.writeable = False
        sizes = np.ones(scales.size, np.int64)
        flat = scales.ravel(), errors.ravel()
        self._table = Table(table, shared, *flat, float(errors.max()), ends, panels, sizes)
        self._centroids: Table | None = None
        if cells is not None:
            found = Index(cells.centroids)._table  # noqa: SLF001 - its own class
            found.sizes[: len(ends) - 1] = np.diff(ends)
            exact = np.where(
                found.errors < 0, found.errors, np.float32(0)
            )  # errors differ between processors
            self._centroids = found._replace(errors=exact)

    def search(self, vectors: Floats, rows: NDArray[np.int32], products: Floats) -> None:
        """Find the nearest rows of vectors.

        Args:
            vectors: `(n, dim)` float32 of length 1; those of zeros find any rows.
            rows: `(n, k)` int32, overwritten: the rows, nearest first, of equals the lowest first.
            products: `(n, k)` float32, overwritten: their exact scalar products, rounded once.
        """
        for first in range(0, len(vectors), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            self._search(vectors[some], rows[some], products[some])

    def _search(self, vectors: Floats, *found: Any) -> None:
        n = len(vectors)
        codes = np.zeros((n, 4 * self.codes.shape[1]), np.int8)
        queries = Queries(
            np.ascontiguousarray(vectors), codes, np.empty(n, np.int32), *np.empty((3, n), np.float32)
        )
        encode_queries(queries)
        room, cells = np.empty((4, n), np.float32), np.ones((n, 1), np.uint64)
        if self._centroids is not None:
            cells = np.empty((n, len(self._centroids.codes)), np.uint64)
            wanted = max(int(SHARE * len(self._table.rows)), found[0].shape[1])
            choose_cells(queries, self._centroids, wanted, room, cells)
        nearest(queries, self._table, cells, room, np.empty(n, np.int64), *found)
