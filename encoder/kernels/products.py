"""Scalar products of vectors with a few directions: all that heads need of a vector.

A matrix product, but on the thread that calls and in an order of additions that depends on the vector alone:
the libraries behind NumPy start threads of their own, and round by the size of the batch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit

__all__ = ["products"]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _product(vector: Any, direction: Any) -> Any:
    total = np.float32(0)
    for k in range(vector.shape[0]):
        total += vector[k] * direction[k]
    return total


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
    for r in range(vectors.shape[0]):
        for d in range(directions.shape[0]):
            out[d, r] = _product(vectors[r], directions[d]) + offsets[d]
