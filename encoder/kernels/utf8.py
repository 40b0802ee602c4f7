"""UTF-8, as far as a tokenizer needs it."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit

__all__ = ["clip", "decode"]


@njit(nogil=True, cache=True)
def decode(data: Any, i: int, e: int) -> tuple[Any, Any]:
    """Code point of 2 to 4 bytes at byte i of a text that ends at e, and the byte behind it, or -1 if broken.

    Arrow columns need not hold valid UTF-8 (Parquet files are not checked when read), and what is decoded
    here becomes an index.
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
    """End of the first `limit` characters of the text in bytes i to e."""
    chars = 0
    for k in range(i, e):
        if (data[k] & 0xC0) != 0x80:  # not a continuation byte: a character begins
            if chars == limit:
                return k
            chars += 1
    return e
