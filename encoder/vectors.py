"""The arrays that vectors are written to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder import aligned
from encoder.aligned import LINE
from encoder.dtypes import VectorType
from encoder.errors import ConfigurationError, InputError
from encoder.kernels.output import convert

__all__ = ["converted", "past_caches", "vectors_for"]

_CACHED = 16 << 20  # bytes, of which a processor's caches still hold the first when the last are written

_KINDS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "binary": np.dtype(np.uint8),
}


def vectors_for(n_texts: int, dims: int, dtype: VectorType, out: NDArray[Any] | None) -> NDArray[Any]:
    """An array for the vectors of so many texts: a new one, or the first rows of `out`.

    Raises:
        InputError: `out` does not fit.
        ConfigurationError: there is no such dtype.
    """
    kind = _KINDS.get(dtype)
    if kind is None:
        raise ConfigurationError(f"dtype is {dtype!r}: it must be one of {', '.join(_KINDS)}")
    columns = -(-dims // 8) if dtype == "binary" else dims
    if out is None:
        if n_texts * columns * kind.itemsize <= _CACHED:  # sooner made, which one short text would notice
            return np.empty((n_texts, columns), kind)
        return aligned.empty((n_texts, columns), kind)
    fits = out.ndim == 2 and len(out) >= n_texts and out.shape[1] == columns
    if not (fits and out.dtype == kind and out.flags.c_contiguous and out.flags.writeable):
        raise InputError(
            f"out is {out.dtype} of shape {out.shape}: it must be writeable, C-contiguous {kind} with "
            f"{columns} columns and {n_texts} rows or more"
        )
    return out[:n_texts]


def past_caches(out: NDArray[Any]) -> bool:
    """Whether vectors are too many for the caches, and lie such that they can be written past them."""
    return out.nbytes > _CACHED and out.ctypes.data % LINE == out.strides[0] % LINE == 0


def converted(
    vectors: NDArray[np.float32], dtype: VectorType, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Float32 vectors in another type, as `Encoder.encode` would have given them at once.

    float16 has the same bits; a component of int8 that lies between two numbers may be the other one.

    Args:
        vectors: `(n, dim)` float32.
        dtype: of the result.
        out: see `Encoder.encode`.

    Raises:
        InputError: `out` does not fit.
        ConfigurationError: there is no such dtype.
    """
    found = vectors_for(len(vectors), vectors.shape[1], dtype, out)
    convert(vectors, found.view(np.uint16) if dtype == "float16" else found)  # kernels know it by its bits
    return found
