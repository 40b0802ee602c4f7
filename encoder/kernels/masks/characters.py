"""What the matchers of masks ask of single bytes of UTF-8."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit

__all__ = [
    "AT",
    "COLON",
    "DIGIT",
    "EMAIL",
    "HEX",
    "LETTER",
    "PATH",
    "TIME",
    "URL",
    "WORD",
    "begins_token",
    "classes",
    "ends_token",
    "marks",
    "number_at",
    "run_end",
]

DIGIT, LETTER, HEX, EMAIL, URL, PATH = 1, 2, 4, 8, 16, 32
WORD = DIGIT | LETTER
"""The bits of a byte's classes: of a number, a word, and of what an e-mail address, URL or path may hold."""

AT, COLON, NUMBER = 1, 2, 4
TIME = COLON | NUMBER
"""The bits of `marks`; a time that begins with a name has a colon and a digit."""

_LESS, _GREATER = 60, 62
_LONGEST_TOKEN = 40  # bytes, of `<name>`


def _classes() -> Any:
    found = np.zeros(256, np.uint8)
    for code in range(256):
        char, beyond = chr(code), code >= 0x80
        found[code] |= DIGIT * ("0" <= char <= "9")
        found[code] |= LETTER * (not beyond and char.isalpha())
        found[code] |= HEX * (char in "0123456789abcdefABCDEF")
        found[code] |= EMAIL * (beyond or char in "._%+-'" or char.isalnum())
        found[code] |= URL * (code > 0x20 and code != 0x7F and char not in '<>"`{}|\\^')
        found[code] |= PATH * (code > 0x20 and code != 0x7F and char not in "\"'`<>|*?:;,()[]{}=\\")
    found.flags.writeable = False
    return found


classes = _classes()
"""`(256,)` uint8: the classes of each byte; those beyond ASCII are no letters and no digits."""


def _marks() -> Any:
    found = np.zeros(256, np.uint8)
    found[ord("@")], found[ord(":")] = AT, COLON
    found[ord("0") : ord("9") + 1] = NUMBER
    found.flags.writeable = False
    return found


marks = _marks()
"""`(256,)` uint8: the bytes without which some masks match nothing in a text."""


@njit(nogil=True, cache=True, inner=True)
def run_end(data: Any, i: int, e: int, wanted: int) -> int:
    """The end of the bytes from i on, up to e, that are of one of the classes."""
    while i < e and classes[data[i]] & wanted:
        i += 1
    return i


@njit(nogil=True, cache=True, inner=True)
def number_at(data: Any, i: int, e: int, most: int) -> tuple[Any, int]:
    """The number of up to `most` decimal digits at byte i, and its end; i itself if there is none."""
    value: Any = 0
    k = i
    while k < e and k - i < most and classes[data[k]] & DIGIT:
        value = 10 * value + np.int64(data[k]) - 48
        k += 1
    return value, k


@njit(nogil=True, cache=True, inner=True)
def begins_token(data: Any, i: int, e: int) -> bool:
    """Whether the bytes from i on look like a mask's token: a name in angle brackets."""
    if i >= e or data[i] != _LESS:
        return False
    k = i + 1
    while k < e and k - i < _LONGEST_TOKEN and (classes[data[k]] & LETTER or data[k] == 95):
        k += 1
    return k > i + 1 and k < e and data[k] == _GREATER


@njit(nogil=True, cache=True, inner=True)
def ends_token(data: Any, s: int, i: int) -> bool:
    """Whether a mask's token ends at byte i of a text that starts at s."""
    if i <= s or data[i - 1] != _GREATER:
        return False
    k = i - 2
    while k > s and i - k < _LONGEST_TOKEN and (classes[data[k]] & LETTER or data[k] == 95):
        k -= 1
    return k >= s and k < i - 2 and data[k] == _LESS
