"""Scalar products of vectors with a few directions, for heads.

A matrix product on the calling thread, with an order of additions that depends only on the vector; NumPy's
libraries start threads of their own, and their rounding depends on the size of the batch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit

__all__ = ["products"]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, inner=True)
def _four(one: Any, two: Any, three: Any, four: Any, direction: Any) -> Any:
    """Products of four vectors: they share each load of the direction, and their sums are independent."""
    a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for k in range(direction.shape[0]):
        a += one[k] * direction[k]
        b += two[k] * direction[k]
        c += three[k] * direction[k]
        d += four[k] * direction[k]
    return a, b, c, d


@njit(nogil=True, cache=True)
def products(
    vectors: NDArray[np.float32],
    directions: NDArray[np.float32],
    offsets: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Compute `directions @ vectors.T + offsets[:, None]`.

    Args:
        vectors: `(n, dim)` float32.
        directions: `(n_directions, dim)` float32.
        offsets: `(n_directions,)` float32.
        out: `(n_directions, n)` float32, overwritten.
    """
    last = vectors.shape[0] - 1
    for r in range(0, last + 1, 4):
        two, three, four = min(r + 1, last), min(r + 2, last), min(r + 3, last)  # repeat the last ones
        for d in range(directions.shape[0]):
            sums = _four(vectors[r], vectors[two], vectors[three], vectors[four], directions[d])
            out[d, four] = sums[3] + offsets[d]
            out[d, three] = sums[2] + offsets[d]
            out[d, two] = sums[1] + offsets[d]
            out[d, r] = sums[0] + offsets[d]
