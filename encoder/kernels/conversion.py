"""Convert vectors to float32, float16, int8 or bits, depending on the type of `out`."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from encoder.kernels.compiled import njit

__all__ = ["convert", "store"]


@njit(nogil=True, cache=True, forceinline=True, inner=True)
def _float32(row: Any, factor: Any, out: Any) -> None:
    for k in range(row.shape[0]):
        out[k] = row[k] * factor


@njit(nogil=True, cache=True, inner=True)
def _float16_bits(row: Any, factor: Any, out: Any) -> None:
    """Round to nearest, ties to even, like NumPy's `astype`; magnitudes from 65,520 on become infinite.

    Free of branches, so that the compiler vectorises it (https://gist.github.com/rygorous/2156668). Each step
    has its type because Numba would widen to 64 bits.
    """
    for k in range(row.shape[0]):
        value = np.float32(row[k] * factor)
        source = value.view(np.uint32)
        sign = np.uint32(np.uint32(source >> np.uint32(16)) & np.uint32(0x8000))
        bits = np.uint32(source & np.uint32(0x7FFFFFFF))
        # Normal range: move the exponent's bias from 127 to 15 and round half to even.
        odd = np.uint32(np.uint32(bits >> np.uint32(13)) & np.uint32(1))
        normal = np.uint32(np.uint32(bits + odd + np.uint32(0xC8000FFF)) >> np.uint32(13))
        # Below 2**-14: adding 0.5 lets the float addition itself shift and round.
        small = np.uint32(np.float32(abs(value) + np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000))
        half = small if bits < np.uint32(0x38800000) else normal
        half = np.uint32(0x7C00) if bits >= np.uint32(0x477FF000) else half
        out[k] = np.uint16(sign | half)


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"}, inner=True)
def _int8(row: Any, factor: Any, out: Any) -> None:
    """Scale the largest magnitude to 127, which keeps cosines; zeros stay zeros."""
    largest = np.float32(0)
    for k in range(row.shape[0]):
        largest = max(largest, abs(row[k]))
    scale = np.float32(127) / largest if largest > 0 else np.float32(0)
    for k in range(row.shape[0]):
        out[k] = np.int8(np.rint(row[k] * scale))


@njit(nogil=True, cache=True, inner=True)
def _bits(row: Any, factor: Any, out: Any) -> None:
    """Set a bit for each positive component, the first in the highest bit, like `numpy.packbits`."""
    out[:] = 0
    for k in range(row.shape[0]):
        out[k >> 3] |= np.uint8(row[k] > 0) << np.uint8(7 - (k & 7))


_STORES = {types.float32: _float32, types.uint16: _float16_bits, types.int8: _int8, types.uint8: _bits}


def store(row: Any, factor: Any, out: Any) -> None:
    """Write `row * factor` from within a kernel.

    Args:
        row: `(dims,)` float32, the sum of a text's token vectors.
        factor: float32.
        out: `(columns,)`, overwritten: float32; uint16 for the bits of float16; int8 with a largest magnitude
            of 127; or uint8 for bits, with `ceil(dims / 8)` columns.
    """
    raise NotImplementedError


@overload(store, jit_options={"nogil": True})
def _store(row: Any, factor: Any, out: Any) -> Any:
    kernel = _STORES[out.dtype]

    def call(row: Any, factor: Any, out: Any) -> None:
        kernel(row, factor, out)

    return call


@njit(nogil=True, cache=True)
def convert(vectors: Any, out: Any) -> None:
    """`store` each of the `(n, dim)` float32 vectors in `(n, columns)` of another type."""
    for r in range(vectors.shape[0]):
        store(vectors[r], np.float32(1), out[r])
