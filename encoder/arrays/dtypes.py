"""The types that numbers of tables and vectors have, and the numbers that all of them can hold."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "Dtype", "VectorType", "largest", "unusable"]

Dtype = Literal["float32", "float16", "int8"]
"""The numbers of a table, or of the vectors in a column."""

VectorType = Literal[Dtype, "binary"]
"""The numbers of vectors; `binary` is one bit a dimension, packed into bytes."""

LARGEST = 65504.0
"""The largest number of float16: larger ones in a table become infinite vectors, which are no JSON."""

_BLOCK = 1 << 20  # numbers whose magnitudes are in memory at a time


def largest(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The largest magnitude of each row, `(n,)`; NaN if a row has one.

    Args:
        rows: `(n, dim)` numbers.
    """
    if rows.dtype == np.int8:  # always small
        return np.full(len(rows), 128.0)
    bits = rows.view(f"u{rows.itemsize}")  # in the order of magnitudes, NaN last; float16 has no fast maximum
    no_sign = bits.dtype.type(np.iinfo(bits.dtype).max >> 1)
    step = max(1, _BLOCK // rows.shape[1])
    spans = [(bits[start : start + step] & no_sign).max(axis=1) for start in range(0, len(rows), step)]
    return np.concatenate(spans).view(rows.dtype).astype(np.float64)


def unusable(magnitudes: NDArray[np.float64]) -> tuple[int, str] | None:
    """The first row whose magnitude is not finite or above `LARGEST`, and what it is, or None."""
    bad = np.flatnonzero(~(magnitudes <= LARGEST))
    return (int(bad[0]), f"{magnitudes[bad[0]]:.6g}") if len(bad) else None
