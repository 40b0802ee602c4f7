"""Vectors as Arrow columns: lists that every tool reads, or fixed-size bytes that are faster to write."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["VectorFormat"]

_ARROW = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


@dataclass(frozen=True)
class VectorFormat:
    """How vectors are written.

    Attributes:
        layout: `list` (fixed-size list: DuckDB, polars and Lance read it) or `binary` (fixed-size bytes,
            little endian: `numpy.frombuffer(value, dtype)`).
        dtype: `float32`, `float16`, or `int8`: each vector scaled so that its largest component is ±127,
            which keeps its cosines.
    """

    layout: Literal["list", "binary"] = "list"
    dtype: Literal["float32", "float16", "int8"] = "float32"

    def arrow_type(self, dim: int) -> pa.DataType:
        """The column's type for vectors of `dim` dimensions."""
        return _arrow_type(self.layout, self.dtype, dim)

    def field(self, dim: int) -> pa.Field:
        """The column `embedding`."""
        return pa.field("embedding", self.arrow_type(dim), nullable=False)

    def column(self, vectors: NDArray[Any]) -> pa.Array:
        """The column of `(n, dim)` vectors as `Encoder.encode` gives them in this dtype; not a copy."""
        kind, data = self.arrow_type(vectors.shape[1]), [None, pa.py_buffer(vectors)]
        if self.layout == "binary":
            return pa.Array.from_buffers(kind, len(vectors), data)
        elements = pa.Array.from_buffers(kind.value_type, vectors.size, data)
        return pa.Array.from_buffers(kind, len(vectors), [None], children=[elements])


@lru_cache(maxsize=64)  # small batches notice what it takes to make one
def _arrow_type(layout: str, dtype: str, dim: int) -> pa.DataType:
    if layout == "binary":
        return pa.binary(dim * np.dtype(dtype).itemsize)
    return pa.list_(pa.field("element", _ARROW[dtype], nullable=False), dim)
