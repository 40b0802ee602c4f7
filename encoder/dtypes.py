"""Names of the types that numbers of tables and vectors have."""

from typing import Literal

__all__ = ["Dtype", "VectorType"]

Dtype = Literal["float32", "float16", "int8"]
"""The numbers of a table, or of the vectors in a column."""

VectorType = Literal[Dtype, "binary"]
"""The numbers of vectors; `binary` is one bit a dimension, packed into bytes."""
