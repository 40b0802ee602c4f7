"""Arrays that start at a cache line, so that no row touches more lines than necessary."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["LINE", "empty", "zeros"]

LINE = 64
"""Bytes in a cache line."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """`numpy.empty`, aligned."""
    return _aligned(np.empty, shape, dtype)


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """`numpy.zeros`, aligned."""
    return _aligned(np.zeros, shape, dtype)


def _aligned(make: Callable[..., NDArray[Any]], shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    memory = make(size + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    return memory[begin : begin + size].view(kind).reshape(shape)
