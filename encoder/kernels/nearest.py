"""The rows with the largest scalar products: an exact search.

A matrix product on the calling thread, whose result is never written down: sixteen products at a time are
computed in registers and compared with the largest so far. The order of additions depends only on the number
of dimensions, so a vector finds the same rows in any batch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit

__all__ = ["nearest"]

_VECTORS = 64  # of 256 dimensions they stay in the first two caches while all rows pass by
_STEP = 4  # vectors, and rows, whose products are computed together


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, inner=True)
def _sixteen(v: Any, w: Any, x: Any, y: Any, p: Any, q: Any, r: Any, s: Any) -> Any:
    """The products of four vectors with four rows: each value that is loaded serves four of them."""
    vp, vq, vr, vs = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    wp, wq, wr, ws = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    xp, xq, xr, xs = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    yp, yq, yr, ys = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for k in range(p.shape[0]):
        vp += v[k] * p[k]
        vq += v[k] * q[k]
        vr += v[k] * r[k]
        vs += v[k] * s[k]
        wp += w[k] * p[k]
        wq += w[k] * q[k]
        wr += w[k] * r[k]
        ws += w[k] * s[k]
        xp += x[k] * p[k]
        xq += x[k] * q[k]
        xr += x[k] * r[k]
        xs += x[k] * s[k]
        yp += y[k] * p[k]
        yq += y[k] * q[k]
        yr += y[k] * r[k]
        ys += y[k] * s[k]
    return vp, vq, vr, vs, wp, wq, wr, ws, xp, xq, xr, xs, yp, yq, yr, ys


@njit(nogil=True, cache=True, inner=True)
def _keep(product: Any, row: Any, rows: Any, products: Any) -> Any:
    """Insert a row among those with the largest products, descending; the first of equals stays before."""
    k = rows.shape[0] - 1
    while k > 0 and products[k - 1] < product:
        products[k], rows[k] = products[k - 1], rows[k - 1]
        k -= 1
    products[k], rows[k] = product, row


@njit(nogil=True, cache=True)
def nearest(
    vectors: NDArray[np.float32],
    table: NDArray[np.float32],
    rows: NDArray[np.int32],
    products: NDArray[np.float32],
) -> None:
    """Find the rows of a table with the largest scalar products.

    Args:
        vectors: `(n, dim)` float32.
        table: `(n_rows, dim)` float32, at least one row.
        rows: `(n, k)` int32, overwritten: the rows, by descending product; -1 behind the last one.
        products: `(n, k)` float32, overwritten: their products; minus infinity behind the last one.
    """
    rows[:] = -1
    products[:] = -np.inf
    last, end = rows.shape[1] - 1, table.shape[0] - 1
    for begin in range(0, vectors.shape[0], _VECTORS):
        stop = min(begin + _VECTORS, vectors.shape[0])
        for row in range(0, end + 1, _STEP):
            second, third, fourth = min(row + 1, end), min(row + 2, end), min(row + 3, end)
            for one in range(begin, stop, _STEP):
                two, three, four = min(one + 1, stop - 1), min(one + 2, stop - 1), min(one + 3, stop - 1)
                found = _sixteen(
                    vectors[one], vectors[two], vectors[three], vectors[four],
                    table[row], table[second], table[third], table[fourth],
                )  # fmt: skip
                for i in range(min(_STEP, stop - one)):
                    for j in range(min(_STEP, end + 1 - row)):
                        if found[_STEP * i + j] > products[one + i, last]:
                            _keep(found[_STEP * i + j], row + j, rows[one + i], products[one + i])
