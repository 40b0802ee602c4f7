"""The rows with the largest scalar products, at the speed of int8, and exact.

Scalar products of int8 codes differ from the exact ones by no more than is known (`encoder.kernels.codes`).
So a row that may belong to the nearest ones is never missed, and its exact product with the vector decides. A
vector finds the same rows, and the same bits, in any batch and on every processor.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.codes import LONGEST, Queries, half
from encoder.kernels.compiled import njit
from encoder.kernels.cosines import LANES, PANEL, products_of_codes, sum_of_products
from encoder.kernels.intrinsics import trailing_zeros

__all__ = ["Table", "choose_cells", "nearest"]

_BISECTIONS = 8
_MOST = np.float32(LONGEST)  # a scalar product with a vector of length 1 is smaller


class Table(NamedTuple):
    """Rows that are searched; a cell of rows begins with a panel.

    Attributes:
        rows: `(n_rows, dim)` uint16, the bits of float16.
        codes: `(n_panels, n_steps, 64, 4)` uint8, four codes of each row after the other.
        scales: `(64 * n_panels,)` float32, what a code of a row is worth; 0 where there is no row.
        errors: `(64 * n_panels,)` float32, the length of what codes lack; minus infinity where there is none.
        error: the largest of these.
        ends: `(n_cells + 1,)` int64, where the rows of each cell begin, and where the last ones end.
        panels: `(n_cells + 1,)` int64, where the panels of each cell begin, and where the last ones end.
        sizes: `(64 * n_panels,)` int64, how much each row counts when enough of them are looked for.
    """

    rows: Any
    codes: Any
    scales: Any
    errors: Any
    error: float
    ends: Any
    panels: Any
    sizes: Any


@njit(nogil=True, cache=True, inner=True)
def _product(vectors: Any, vector: Any, rows: Any, row: Any) -> Any:
    """The exact scalar product, rounded once."""
    found, dim = sum_of_products(vectors, vector, rows, row), rows.shape[1]
    for k in range(dim // LANES * LANES, dim):
        found += np.float64(vectors[vector, k]) * np.float64(half(rows[row, k]))
    return np.float32(found)


@njit(nogil=True, cache=True, inner=True)
def _keep(product: Any, row: Any, rows: Any, products: Any) -> Any:
    """Insert a row among those with the largest products, descending; the first of equals stays before."""
    k = rows.shape[0] - 1
    while k > 0 and products[k - 1] < product:
        products[k], rows[k] = products[k - 1], rows[k - 1]
        k -= 1
    products[k], rows[k] = product, row


@njit(nogil=True, cache=True, inner=True)
def _reach(queries: Any, four: Any, table: Any, panel: Any, limits: Any) -> Any:
    """Which rows of a panel may reach the limits of four vectors: four masks."""
    terms = queries.starts, queries.factors, limits
    return products_of_codes(table.codes, panel, queries.codes, four, terms, table.scales, table.errors)


@njit(nogil=True, cache=True, inner=True)
def _four(members: Any, at: Any, count: Any) -> Any:
    """Four of the vectors from one on; the last one stands for those behind it."""
    end = count - 1
    return members[at], members[min(at + 1, end)], members[min(at + 2, end)], members[min(at + 3, end)]


@njit(nogil=True, cache=True, inner=True)
def _size(mask: Any, panel: Any, sizes: Any) -> Any:
    total = 0
    while mask:
        total += sizes[panel * PANEL + trailing_zeros(mask)]
        mask &= mask - np.uint64(1)
    return total


@njit(nogil=True, cache=True, inner=True)
def _bisect(queries: Any, four: Any, table: Any, panels: Any, wanted: Any, room: Any) -> None:
    """Find almost the largest limits that rows of the wanted size may reach, for four vectors.

    Args:
        queries: the vectors.
        four: which of them.
        table: the rows.
        panels: the first panel, and the one behind the last.
        wanted: the least sum of `table.sizes`.
        room: three arrays `(n,)` float32: the limits as products, overwritten; their upper bounds, and the
            limits that are tried.
    """
    low, high, limits = room
    for i in range(4):
        low[four[i]], high[four[i]] = -_MOST, _MOST
    for _ in range(_BISECTIONS):
        for i in range(4):
            one = four[i]
            limits[one] = (low[one] + high[one]) / np.float32(2) * queries.slopes[one]
        a, b, c, d = 0, 0, 0, 0
        for panel in range(panels[0], panels[1]):
            masks = _reach(queries, four, table, panel, limits)
            a += _size(masks[0], panel, table.sizes)
            b += _size(masks[1], panel, table.sizes)
            c += _size(masks[2], panel, table.sizes)
            d += _size(masks[3], panel, table.sizes)
        sizes = a, b, c, d
        for i in range(4):
            one = four[i]
            if sizes[i] >= wanted:
                low[one] = limits[one] / queries.slopes[one]
            else:
                high[one] = limits[one] / queries.slopes[one]


@njit(nogil=True, cache=True)
def choose_cells(
    queries: Queries, table: Table, wanted: int, room: NDArray[np.float32], cells: NDArray[np.uint64]
) -> None:
    """Find the cells whose centroids are nearest to vectors.

    Args:
        queries: of `n` vectors.
        table: of centroids, all in one cell; `sizes` are numbers of rows.
        wanted: how many rows the cells of a vector have at least.
        room: `(4, n)` float32, overwritten.
        cells: `(n, n_panels)` uint64, overwritten: a bit for each cell, the lowest for the first.
    """
    low, high, limits = room[0], room[1], room[2]
    n = cells.shape[0]
    for at in range(0, n, 4):
        four = at, min(at + 1, n - 1), min(at + 2, n - 1), min(at + 3, n - 1)
        _bisect(queries, four, table, (0, cells.shape[1]), wanted, (low, high, limits))
        for i in range(4):
            limits[four[i]] = low[four[i]] * queries.slopes[four[i]]
        for panel in range(cells.shape[1]):
            masks = _reach(queries, four, table, panel, limits)
            for i in range(4):
                cells[four[i], panel] = masks[i]


@njit(nogil=True, cache=True, inner=True)
def _first_limits(
    queries: Any, four: Any, table: Any, panel: Any, wanted: Any, limits: Any, room: Any
) -> None:
    """Set limits that the wanted number of rows of the first panel reach for certain."""
    missing = False
    for i in range(4):
        missing |= limits[four[i]] == -np.inf
    if missing:
        _bisect(queries, four, table, (panel, panel + 1), wanted, room)
        for i in range(4):
            one = four[i]
            if limits[one] == -np.inf:
                certain = (room[0][one] - 2 * queries.slacks[one]) * queries.slopes[one]
                limits[one] = certain - 2 * queries.factors[one] * table.error


@njit(nogil=True, cache=True, inner=True)
def _members(cells: Any, cell: Any, members: Any) -> Any:
    """Collect the vectors that are compared with a cell; returns how many they are."""
    count = 0
    for one in range(cells.shape[0]):
        members[count] = one
        count += (cells[one, cell >> 6] >> np.uint64(cell & 63)) & np.uint64(1)
    return count


@njit(nogil=True, cache=True)
def nearest(
    queries: Queries,
    table: Table,
    cells: NDArray[np.uint64],
    room: NDArray[np.float32],
    members: NDArray[np.int64],
    rows: NDArray[np.int32],
    products: NDArray[np.float32],
) -> None:
    """Find the rows of a table with the largest scalar products.

    Args:
        queries: of `n` vectors.
        table: of the rows.
        cells: `(n, n_words)` uint64, a bit for each cell whose rows a vector is compared with.
        room: `(4, n)` float32, overwritten.
        members: `(n,)` int64, overwritten.
        rows: `(n, k)` int32, overwritten: the rows, by descending product; -1 behind the last one.
        products: `(n, k)` float32, overwritten: their products; minus infinity behind the last one.
    """
    rows[:] = -1
    products[:] = -np.inf
    limits, trial = room[0], (room[1], room[2], room[3])
    limits[:] = -np.inf
    k = rows.shape[1]
    for cell in range(table.ends.shape[0] - 1):
        count = _members(cells, cell, members)
        for at in range(0, count, 4):
            four = _four(members, at, count)
            _first_limits(queries, four, table, table.panels[cell], k, limits, trial)
        for panel in range(table.panels[cell], table.panels[cell + 1]):
            first = table.ends[cell] + (panel - table.panels[cell]) * PANEL
            for at in range(0, count, 4):
                four = _four(members, at, count)
                masks = _reach(queries, four, table, panel, limits)
                for i in range(min(4, count - at)):
                    mask, one = masks[i], four[i]
                    while mask:
                        row = first + trailing_zeros(mask)
                        mask &= mask - np.uint64(1)
                        if row >= table.ends[cell + 1]:  # only if a vector has no length near 1
                            break
                        product = _product(queries.vectors, one, table.rows, row)
                        if product > products[one, k - 1]:
                            _keep(product, row, rows[one], products[one])
                            certain = (products[one, k - 1] - queries.slacks[one]) * queries.slopes[one]
                            limits[one] = max(limits[one], certain)
