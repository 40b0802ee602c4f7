"""Look at lines of JSON without parsing them: count what stands there, and find numbers of many digits."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit
from encoder.kernels.intrinsics import WINDOW, count_ones, trailing_zeros, within

__all__ = ["scan_lines"]

_DIGITS = 16  # digits and points: a double holds every number of fewer
_WHOLE = 24  # bytes: longer numbers are looked at more closely even without a point
_ALL = np.uint64(2**64 - 1)


@njit(nogil=True, cache=True, inner=True)
def _in_number(byte: Any) -> bool:
    return 46 <= byte <= 57 or byte in (43, 45, 69, 101)  # ./0123456789 +-Ee


@njit(nogil=True, cache=True, inner=True)
def _number(text: Any, place: Any) -> tuple[bool, int, int]:
    """The number around a place: whether it may have a point or an exponent, its length, and its end."""
    first, last = place, place
    while first > 0 and _in_number(text[first - 1]):
        first -= 1
    while last < text.shape[0] and _in_number(text[last]):
        last += 1
    if first > 0 and text[first - 1] not in (9, 10, 13, 32, 44, 58, 91):  # \t\n\r ,:[
        return False, last - first, last
    if last < text.shape[0] and text[last] not in (9, 10, 13, 32, 44, 93, 125):  # \t\n\r ,]}
        return False, last - first, last
    has_fraction = last - first >= _WHOLE
    for k in range(first, last):
        has_fraction |= text[k] in (46, 69, 101)
    return has_fraction, last - first, last


@njit(nogil=True, cache=True, inner=True)
def _scan(text: Any, first: int, last: int) -> tuple[int, int, int, bool]:
    """As `scan_lines`, of some bytes one by one."""
    n_keys, n_breaks, n_between, is_long = 0, 0, 0, False
    for k in range(first, last):
        before = text[k - 1] if k > 0 else 255
        n_keys += text[k] == 58 and before <= 34
        n_breaks += text[k] == 10
        n_between += text[k] == 10 and before == 125 and k + 1 < text.shape[0] and text[k + 1] == 123
        if not is_long and _in_number(text[k]):
            has_fraction, size, _ = _number(text, k)
            is_long = has_fraction and (size >= _DIGITS or text[k] == 45)
    return n_keys, n_breaks, n_between, is_long


@njit(nogil=True, cache=True)
def scan_lines(text: Any) -> tuple[int, int, int, bool]:
    """Look at lines of JSON once.

    Args:
        text: `(n,)` uint8, any bytes.

    Returns:
        How many colons follow a quote or a byte below it, such as a space; how many line feeds there are; how
        many of these are between `}` and `{`; whether there may be a number with a point or an exponent that
        has 16 digits and points or more, or an exponent of many digits.
    """
    n, at = text.shape[0], 1
    n_keys, n_breaks, n_between, is_long = _scan(text, 0, min(at, n))
    while at + WINDOW < n:
        breaks = within(text, at, 10, 1)
        n_keys += count_ones(within(text, at, 58, 1) & within(text, at - 1, 0, 35))
        n_breaks += count_ones(breaks)
        n_between += count_ones(breaks & within(text, at - 1, 125, 1) & within(text, at + 1, 123, 1))
        exponents = within(text, at - 1, 69, 1) | within(text, at - 1, 101, 1)
        exponents &= within(text, at, 45, 1)
        runs = within(text, at, 46, 12)  # of 8: one of 16 has them in a window
        runs &= runs >> np.uint64(1)
        runs &= runs >> np.uint64(2)
        runs &= runs >> np.uint64(4)
        while exponents and not is_long:  # first: those behind a run of 8 belong to its number
            is_long = _number(text, at + trailing_zeros(exponents))[0]
            exponents &= exponents - np.uint64(1)
        while runs and not is_long:
            has_fraction, size, end = _number(text, at + trailing_zeros(runs))
            is_long = has_fraction and size >= _DIGITS
            done = np.uint64(end - at)
            runs = runs & _ALL << done if done < WINDOW else np.uint64(0)
        at += WINDOW
    tail = _scan(text, min(at, n), n)
    return n_keys + tail[0], n_breaks + tail[1], n_between + tail[2], is_long or tail[3]
