"""Average and normalise the token vectors of texts.

The order of additions depends only on a text's tokens, so a text gives the same bits in any batch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.conversion import store
from encoder.kernels.intrinsics import finish, stream
from encoder.kernels.rows import add_rows

__all__ = ["pool_texts"]

_EXACT = 256  # rows whose int8 sums always fit into int16, and whose weighted sums float32 holds exactly
_LONG = 1 << 16  # rows whose int8 sums float32 always represents exactly


@njit(nogil=True, cache=True, forceinline=True, inner=True)
def _add_rows(ids: Any, first: int, last: int, table: Any, weights: Any, sums: Any) -> None:
    column = add_rows(ids, first, last, table, weights, sums)
    for k in range(column, sums.shape[0]):
        sums[k] = 0
        for i in range(first, last):
            if weights is None:
                sums[k] += table[ids[i], k]
            else:
                sums[k] += table[ids[i], k] * weights[ids[i]]


@njit(nogil=True, cache=True, forceinline=True, inner=True)
def _add_blocks(ids: Any, first: int, last: int, table: Any, weights: Any, sums: Any, row: Any) -> None:
    _add_rows(ids, first, min(last, first + _EXACT), table, weights, row)
    for begin in range(first + _EXACT, last, _EXACT):
        _add_rows(ids, begin, min(last, begin + _EXACT), table, weights, sums)
        for k in range(row.shape[0]):
            row[k] += sums[k]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, forceinline=True, inner=True)
def _pool(
    ids: Any,
    first: Any,
    last: Any,
    table: Any,
    weights: Any,
    normalize: bool,
    sums: Any,
    row: Any,
    total: Any,
) -> Any:
    """Sum the vectors of one text into `row`; the factor that turns the sum into the result."""
    if first == last:
        row[:] = 0
        return np.float32(0)
    long = last - first > _LONG
    if long:
        total[:] = 0
    for begin in range(first, last, _LONG):
        _add_blocks(ids, begin, min(last, begin + _LONG), table, weights, sums, row)
        if long:
            for k in range(row.shape[0]):
                total[k] += row[k]
    if long:
        for k in range(row.shape[0]):
            row[k] = np.float32(total[k])
    if not normalize:
        return np.float32(1) / np.float32(last - first)
    square = np.float32(0)
    for k in range(row.shape[0]):
        square += row[k] * row[k]
    return np.float32(1) / np.sqrt(square) if square > 0 else np.float32(0)


@njit(nogil=True, cache=True, allocates=True)
def pool_texts(
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
    table: NDArray[np.float32] | NDArray[np.int8],
    weights: NDArray[np.uint8] | None,
    normalize: bool,
    dims: int,
    out: NDArray[Any],
    past_caches: bool,
) -> None:
    """Pool texts; sums of int8 rows are exact, so only the final scaling rounds.

    Args:
        ids: the token ids of all texts, concatenated.
        ends: `(n_texts,)` the end of each text's ids.
        table: `(n_tokens, dim)` token vectors, int8 or float32.
        weights: `(n_tokens,)` factors of the rows of an int8 table, or None.
        normalize: whether to scale vectors to length 1 instead of taking the mean.
        dims: the number of dimensions to use.
        out: `(n_texts, columns)`, overwritten as by `kernels.conversion.store`; zeros for texts without
            tokens.
        past_caches: whether to write `out` with `stream`, whose conditions its rows must fulfil.
    """
    first = np.int64(0)  # a literal 0 would compile another variant of `_pool`
    row, sums, total = np.empty(dims, np.float32), np.empty(dims, np.float32), np.empty(dims, np.float64)
    vector = np.empty(out.shape[1] if past_caches else 0, out.dtype)
    for r in range(ends.shape[0]):
        factor = _pool(ids, first, ends[r], table, weights, normalize, sums, row, total)
        target = vector if past_caches else out[r]
        store(row, factor, target)
        if past_caches:
            stream(target, out[r])
        first = ends[r]
    if past_caches:
        finish()
