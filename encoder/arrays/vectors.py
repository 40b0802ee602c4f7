"""Output arrays for vectors, and conversion between vector types."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.arrays import aligned
from encoder.arrays.aligned import LINE
from encoder.arrays.dtypes import VectorType
from encoder.errors import ConfigurationError, InputError
from encoder.kernels.conversion import convert

__all__ = ["converted", "past_caches", "vectors_for"]

_CACHED = 16 << 20  # bytes that fit into the processor's caches

_KINDS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "binary": np.dtype(np.uint8),
}


def vectors_for(n_texts: int, dims: int, dtype: VectorType, out: NDArray[Any] | None) -> NDArray[Any]:
    """A new array for the vectors of `n_texts` texts, or the first rows of `out`.

    Raises:
        InputError: `out` has the wrong shape, type or layout.
        ConfigurationError: `dtype` is unknown.
    """
    kind = _KINDS.get(dtype)
    if kind is None:
        raise ConfigurationError(f"dtype is {dtype!r}: it must be one of {', '.join(_KINDS)}")
    columns = -(-dims // 8) if dtype == "binary" else dims
    if out is None:
        if n_texts * columns * kind.itemsize <= _CACHED:  # faster, which matters for one short text
            return np.empty((n_texts, columns), kind)
        return aligned.empty((n_texts, columns), kind)
    fits = out.ndim == 2 and len(out) >= n_texts and out.shape[1] == columns
    if not (fits and out.dtype == kind and out.flags.c_contiguous and out.flags.writeable):
        raise InputError(
            f"out is {out.dtype} of shape {out.shape}: it must be writeable, C-contiguous {kind} with "
            f"{columns} columns and at least {n_texts} rows"
        )
    return out[:n_texts]


def past_caches(out: NDArray[Any]) -> bool:
    """Whether writes bypass the caches: the array is too large for them, and its rows are aligned."""
    return out.nbytes > _CACHED and out.ctypes.data % LINE == out.strides[0] % LINE == 0


def converted(
    vectors: NDArray[np.float32], dtype: VectorType, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Convert float32 vectors to what `Encoder.encode` returns for another dtype.

    The bits are equal, except that an int8 component halfway between two integers may be rounded to the
    other one.

    Args:
        vectors: `(n, dim)` float32.
        dtype: the type of the result.
        out: where to write the result, as in `Encoder.encode`.

    Raises:
        InputError: `out` has the wrong shape, type or layout.
        ConfigurationError: `dtype` is unknown.
    """
    found = vectors_for(len(vectors), vectors.shape[1], dtype, out)
    convert(vectors, found.view(np.uint16) if dtype == "float16" else found)  # Numba has no float16
    return found
