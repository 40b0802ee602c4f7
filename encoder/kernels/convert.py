"""float32 vectors to smaller types, at memory speed."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["to_float16", "to_int8"]


def to_float16(vectors: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to the nearest float16, ties to even, as `astype` does, in a fraction of its time.

    Args:
        vectors: `(n, dim)` float32, finite.

    Returns:
        `(n, dim)` float16; magnitudes of 65,520 and more become infinite.
    """
    bits = np.empty(vectors.shape, np.uint16)
    values = np.ascontiguousarray(vectors).reshape(-1)
    _float16_bits(values, values.view(np.uint32), bits.reshape(-1))
    return bits.view(np.float16)


@njit(nogil=True, cache=True)
def _float16_bits(
    values: NDArray[np.float32], source: NDArray[np.uint32], target: NDArray[np.uint16]
) -> None:
    # Branch-free on the bits, so that the compiler uses the widest vectors: https://gist.github.com/rygorous/2156668
    # Each step is wrapped because Numba would widen to 64 bits.
    for k in range(source.shape[0]):
        sign = np.uint32(np.uint32(source[k] >> np.uint32(16)) & np.uint32(0x8000))
        bits = np.uint32(source[k] & np.uint32(0x7FFFFFFF))
        # Normal range: move the exponent's bias from 127 to 15 and round half to even.
        odd = np.uint32(np.uint32(bits >> np.uint32(13)) & np.uint32(1))
        normal = np.uint32(np.uint32(bits + odd + np.uint32(0xC8000FFF)) >> np.uint32(13))
        # Below 2**-14: adding 0.5 lets the float addition itself shift and round.
        small = np.uint32(
            np.float32(abs(values[k]) + np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000)
        )
        value = small if bits < np.uint32(0x38800000) else normal
        value = np.uint32(0x7C00) if bits >= np.uint32(0x477FF000) else value
        target[k] = np.uint16(sign | value)


@njit(nogil=True, cache=True)
def to_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Scale each vector so that its largest magnitude is 127, and round; cosines are kept.

    Args:
        vectors: `(n, dim)` float32.

    Returns:
        `(n, dim)` int8; zeros stay zeros.
    """
    out = np.empty(vectors.shape, np.int8)
    for r in range(vectors.shape[0]):
        largest = np.float32(0)
        for k in range(vectors.shape[1]):
            largest = max(largest, abs(vectors[r, k]))
        factor = np.float32(127) / largest if largest > 0 else np.float32(0)
        for k in range(vectors.shape[1]):
            out[r, k] = np.int8(np.rint(vectors[r, k] * factor))
    return out
