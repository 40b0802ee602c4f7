"""The arrays that vectors are written to."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ConfigurationError, InputError

__all__ = ["VectorType", "vectors_for"]

VectorType = Literal["float32", "float16", "int8", "binary"]
"""What a vector is made of; see `Encoder.encode`."""


def vectors_for(n_texts: int, dims: int, dtype: VectorType, out: NDArray[Any] | None) -> NDArray[Any]:
    """An array for the vectors of so many texts: a new one, or the first rows of `out`.

    Raises:
        InputError: `out` does not fit.
        ConfigurationError: there is no such dtype.
    """
    if dtype not in get_args(VectorType):
        raise ConfigurationError(f"dtype is {dtype!r}: it must be one of {', '.join(get_args(VectorType))}")
    kind = np.dtype(np.uint8 if dtype == "binary" else dtype)
    columns = -(-dims // 8) if dtype == "binary" else dims
    if out is None:
        return np.empty((n_texts, columns), kind)
    fits = out.ndim == 2 and len(out) >= n_texts and out.shape[1] == columns  # noqa: PLR2004 - rows and columns
    if not (fits and out.dtype == kind and out.flags.c_contiguous and out.flags.writeable):
        raise InputError(
            f"out is {out.dtype} of shape {out.shape}: it must be writeable, C-contiguous {kind} with "
            f"{columns} columns and {n_texts} rows or more"
        )
    return out[:n_texts]
