"""Mean pooling of token vectors, normalised: the second half of the encoder.

The order of additions depends on a text's tokens alone, so the same text gives the same bits in any batch.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

__all__ = ["pool", "pool_float32", "pool_int8"]

_EXACT = 256  # int8 values whose sum always fits into int16


@njit(nogil=True, cache=True, inline="always")
def _finish(out: NDArray[np.float32], n_tokens: int, normalize: bool) -> None:
    """Turn a sum into a mean, or into a vector of length 1 (the mean's factor drops out)."""
    square = np.float32(0)
    if normalize:
        for k in range(out.shape[0]):
            square += out[k] * out[k]
        factor = np.float32(1) / np.sqrt(square) if square > 0 else np.float32(0)
    else:
        factor = np.float32(1) / np.float32(n_tokens)
    for k in range(out.shape[0]):
        out[k] *= factor


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def pool_int8(
    ids: NDArray[np.int32],
    first: int,
    last: int,
    table: NDArray[np.int8],
    normalize: bool,
    room: NDArray[np.int16],
    out: NDArray[np.float32],
) -> None:
    """Pool int8 rows; sums are exact, so only the last scaling rounds.

    Args:
        ids: token ids; `ids[first:last]` are the text's.
        first: the text's first id.
        last: behind its last id.
        table: `(n_tokens, dim)` int8.
        normalize: scale to length 1, instead of the mean of the integers.
        room: `(dim,)` int16, for the sums; not used for float32.
        out: `(dim,)` float32, overwritten; zeros for a text without tokens.
    """
    dim = table.shape[1]
    if first == last:
        out[:] = 0
        return
    begin = first
    while begin < last:
        stop = min(last, begin + _EXACT)
        room[:] = 0
        i = begin
        while i + 4 <= stop:  # four rows at a time: a quarter of the accumulator's traffic
            a, b, c, d = table[ids[i]], table[ids[i + 1]], table[ids[i + 2]], table[ids[i + 3]]
            for k in range(dim):
                room[k] += np.int16(np.int16(a[k]) + np.int16(b[k])) + np.int16(
                    np.int16(c[k]) + np.int16(d[k])
                )
            i += 4
        while i < stop:
            a = table[ids[i]]
            for k in range(dim):
                room[k] += np.int16(a[k])
            i += 1
        if begin == first:
            for k in range(dim):
                out[k] = np.float32(room[k])
        else:
            for k in range(dim):
                out[k] += np.float32(room[k])
        begin = stop
    _finish(out, last - first, normalize)


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def pool_float32(
    ids: NDArray[np.int32],
    first: int,
    last: int,
    table: NDArray[np.float32],
    normalize: bool,
    room: NDArray[np.int16],  # noqa: ARG001 - for the int8 kernel
    out: NDArray[np.float32],
) -> None:
    """Pool float32 rows; arguments as in `pool_int8`, the table `(n_tokens, dim)` float32."""
    dim = table.shape[1]
    out[:] = 0
    if first == last:
        return
    i = first
    while i + 4 <= last:
        a, b, c, d = table[ids[i]], table[ids[i + 1]], table[ids[i + 2]], table[ids[i + 3]]
        for k in range(dim):
            out[k] += (a[k] + b[k]) + (c[k] + d[k])
        i += 4
    while i < last:
        a = table[ids[i]]
        for k in range(dim):
            out[k] += a[k]
        i += 1
    _finish(out, last - first, normalize)


def pool(ids: Any, first: int, last: int, table: Any, normalize: bool, room: Any, out: Any) -> None:
    """Pool by the kernel of the table's type; for other kernels to call."""
    (pool_int8 if table.dtype == np.int8 else pool_float32)(ids, first, last, table, normalize, room, out)


# The table's type alone decides, but an overload has to name all arguments.
@overload(pool, jit_options={"nogil": True}, strict=False)
def _pool(ids: Any, first: Any, last: Any, table: Any, normalize: Any, room: Any, out: Any) -> Any:  # noqa: ARG001 - as above
    kernel = pool_int8 if table.dtype == types.int8 else pool_float32

    def call(ids: Any, first: Any, last: Any, table: Any, normalize: Any, room: Any, out: Any) -> None:
        kernel(ids, first, last, table, normalize, room, out)

    return call
