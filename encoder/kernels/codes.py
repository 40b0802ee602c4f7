"""int8 codes of vectors and of rows, and how far their scalar products may be from the exact ones."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.cosines import PANEL

__all__ = ["LONGEST", "Queries", "encode_queries", "encode_rows", "half"]

LONGEST = 1.01
"""The largest square of the length of a row."""

_MOST = np.float32(127)
_ZERO = 128  # is added to codes of rows, since processors multiply unsigned by signed numbers
_ROUNDED = np.float32(1.0001)  # more than what the sums of squares lose in float32
_SLACK = np.float32(2e-6)  # more than what a scalar product loses in float32


class Queries(NamedTuple):
    """Vectors that are searched for.

    A row `r` with the codes `d`, the scale `s` and the error `e` has
    `|v . r * slope - ((start + codes . d) * s)| <= factor * e + slack * slope`.

    Attributes:
        vectors: `(n, dim)` float32.
        codes: `(n, 4 * n_steps)` int8, zeros behind `dim`.
        starts: `(n,)` int32.
        factors: `(n,)` float32.
        slopes: `(n,)` float32.
        slacks: `(n,)` float32.
    """

    vectors: Any
    codes: Any
    starts: Any
    factors: Any
    slopes: Any
    slacks: Any


@njit(nogil=True, cache=True, inner=True)
def half(bits: Any) -> Any:
    """The number that float16 bits stand for, but finite."""
    sign, rest = np.uint32(bits & 0x8000), np.uint32(bits & 0x7FFF)
    value = np.uint32((sign << np.uint32(16)) | (rest << np.uint32(13)))
    return np.float32(value.view(np.float32) * np.float32(2.0**112))


@njit(nogil=True, cache=True, inner=True)
def _encode(row: Any, codes: Any) -> Any:
    """Scale the largest magnitude to 127 and round; returns the factor, as any processor has it."""
    most = np.float32(0)
    for k in range(row.shape[0]):
        most = max(most, abs(row[k]))
    slope = _MOST / most if most > 0 else np.float32(1)
    for k in range(row.shape[0]):
        codes[k] = np.int8(np.rint(row[k] * slope))
    return slope


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, inner=True)
def _lengths(row: Any, codes: Any, scale: Any) -> Any:
    """The squared length of a row, and a little more than the length of what its codes lack."""
    square, error = np.float32(0), np.float32(0)
    for k in range(row.shape[0]):
        rest = row[k] - np.float32(codes[k]) * scale
        square += row[k] * row[k]
        error += rest * rest
    return square, np.float32(np.sqrt(error)) * _ROUNDED


@njit(nogil=True, cache=True)
def encode_queries(queries: Queries) -> None:
    """Make everything else from the vectors; arrays are overwritten."""
    for r in range(queries.vectors.shape[0]):
        vector, codes = queries.vectors[r], queries.codes[r, : queries.vectors.shape[1]]
        slope = _encode(vector, codes)
        total = np.int32(0)
        for k in range(codes.shape[0]):
            total += np.int32(codes[k])
        square, error = _lengths(vector, codes, np.float32(1) / slope)
        queries.starts[r] = -_ZERO * total
        queries.slopes[r] = slope
        queries.slacks[r] = error * np.float32(LONGEST) + _SLACK
        queries.factors[r] = (np.float32(np.sqrt(square)) * _ROUNDED + error) * slope


@njit(nogil=True, cache=True)
def encode_rows(
    rows: NDArray[np.uint16],
    codes: NDArray[np.uint8],
    scales: NDArray[np.float32],
    errors: NDArray[np.float32],
    row: NDArray[np.float32],
    numbers: NDArray[np.int8],
) -> float:
    """Make codes of rows.

    Args:
        rows: `(n_rows, dim)` uint16, the bits of float16.
        codes: `(n_panels, n_steps, 64, 4)` uint8, overwritten where there are rows.
        scales: `(n_panels, 64)` float32, overwritten where there are rows.
        errors: `(n_panels, 64)` float32, overwritten where there are rows: the length of what codes lack.
        row: `(dim,)` float32, room for a row.
        numbers: `(dim,)` int8, room for its codes.

    Returns:
        The largest square of the length of a row.
    """
    longest = np.float32(0)
    for r in range(rows.shape[0]):
        panel, lane = r // PANEL, r % PANEL
        for k in range(row.shape[0]):
            row[k] = half(rows[r, k])
        scale = np.float32(1) / _encode(row, numbers)
        for k in range(row.shape[0]):
            codes[panel, k >> 2, lane, k & 3] = np.uint8(np.int32(numbers[k]) + _ZERO)
        square, errors[panel, lane] = _lengths(row, numbers, scale)
        scales[panel, lane] = scale
        longest = max(longest, square)
    return longest  # type: ignore[return-value] # compiled, it is a float
