"""Decode and truncate UTF-8."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit

__all__ = ["clip", "decode"]


@njit(nogil=True, cache=True)
def decode(data: Any, i: int, e: int) -> tuple[Any, Any]:
    """The code point of 2 to 4 bytes at byte i of a text that ends at e, and its end, or -1 if invalid.

    Invalid UTF-8 must not become an index, and Arrow does not check what it reads from Parquet files.
    """
    b = np.int64(data[i])
    n = 2 if b < 0xE0 else 3 if b < 0xF0 else 4
    if b < 0xC2 or b > 0xF4 or i + n > e:
        return 0, -1
    code = b & (0x7F >> n)
    for k in range(i + 1, i + n):
        if (data[k] & 0xC0) != 0x80:
            return 0, -1
        code = (code << 6) | (data[k] & 0x3F)
    if (n == 3 and code < 0x800) or (n == 4 and not 0x10000 <= code <= 0x10FFFF):
        return 0, -1
    return code, i + n


@njit(nogil=True, cache=True)
def clip(data: Any, i: int, e: int, limit: int) -> int:
    """The end of the first `limit` characters of the text in bytes i to e."""
    chars = 0
    for k in range(i, e):
        if (data[k] & 0xC0) != 0x80:  # not a continuation byte: a character starts
            if chars == limit:
                return k
            chars += 1
    return e
