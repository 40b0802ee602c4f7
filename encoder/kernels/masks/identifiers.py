"""Where an identifier ends that begins at a byte: UUID, hexadecimal, IBAN, card, IP address. -1 is none.

Every function reads a text in the bytes s to e; byte i begins no word part, except for `card_end`.
"""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit
from encoder.kernels.masks.characters import (
    DIGIT,
    HEX,
    LETTER,
    WORD,
    begins_token,
    classes,
    ends_token,
    number_at,
    run_end,
)

__all__ = ["card_end", "hex_end", "iban_end", "ipv4_end", "ipv6_end", "uuid_end"]

_MINUS, _DOT, _COMMA, _SPACE, _COLON, _SLASH, _PERCENT = 45, 46, 44, 32, 58, 47, 37
_OPEN, _CLOSE = 91, 93
_LONG_HEX = 8  # digits; shorter ones are words and numbers as often
_PAIRS = 6  # of a MAC address
_GROUP = 4  # characters of a printed IBAN, digits of a card's first group


@njit(nogil=True, cache=True, inner=True)
def uuid_end(data: Any, i: int, e: int) -> int:
    """8-4-4-4-12 hexadecimal digits."""
    if i + 36 > e or (i + 36 < e and classes[data[i + 36]] & WORD):
        return -1
    for k in range(36):
        dash = k in (8, 13, 18, 23)
        if (data[i + k] == _MINUS) != dash or not (dash or classes[data[i + k]] & HEX):
            return -1
    return i + 36


@njit(nogil=True, cache=True, inner=True)
def hex_end(data: Any, i: int, e: int) -> int:
    """`0x` and hexadecimal digits; 8 of them or more, with letters and digits; 6 pairs or more, joined."""
    if data[i] == 48 and i + 2 < e and data[i + 1] | 32 == 120 and classes[data[i + 2]] & HEX:
        k = run_end(data, i + 2, e, HEX)
        return k if k == e or not classes[data[k]] & WORD else -1
    k, seen = i, 0
    while k < e and classes[data[k]] & HEX:
        seen |= classes[data[k]] & WORD
        k += 1
    if k - i >= _LONG_HEX and seen == WORD and (k == e or not classes[data[k]] & WORD):
        return k
    if k - i != 2 or k == e or data[k] not in (_COLON, _MINUS):
        return -1
    join, pairs = data[k], 1
    while k + 2 < e and data[k] == join and run_end(data, k + 1, e, WORD) == k + 3:
        if not (classes[data[k + 1]] & HEX and classes[data[k + 2]] & HEX):
            break
        k += 3
        pairs += 1
    return k if pairs >= _PAIRS else -1


@njit(nogil=True, cache=True, inner=True)
def _value(char: Any) -> Any:
    """What a letter or digit counts in an IBAN."""
    return np.int64(char) - 48 if char < 58 else (np.int64(char) | 32) - 87


@njit(nogil=True, cache=True, inner=True)
def iban_end(data: Any, i: int, e: int) -> int:
    """15 to 34 letters and digits, together or in groups of four, whose ISO 7064 checksum is right."""
    if i + 15 > e or not (classes[data[i]] & LETTER and classes[data[i + 1]] & LETTER):
        return -1
    if not (classes[data[i + 2]] & DIGIT and classes[data[i + 3]] & DIGIT):
        return -1
    country = (_value(data[i]) * 100 + _value(data[i + 1])) * 100
    country += _value(data[i + 2]) * 10 + _value(data[i + 3])
    join: Any = np.uint8(0)
    k, n, rest, found = i + 4, 4, 0, -1
    if k < e and data[k] in (_SPACE, _MINUS):
        join = data[k]
    while n <= 34:
        if k == e or not classes[data[k]] & WORD:
            if n >= 15 and (rest * 1_000_000 + country) % 97 == 1:
                found = k
            grouped = join != 0 and n % _GROUP == 0 and k + 1 < e and data[k] == join
            if not (grouped and classes[data[k + 1]] & WORD):
                return found
            k += 1
        elif join != 0 and n % _GROUP == 0 and data[k - 1] != join:
            return found
        value = _value(data[k])
        rest = (rest * (100 if value > 9 else 10) + value) % 97
        k, n = k + 1, n + 1
    return found


@njit(nogil=True, cache=True, inner=True)
def card_end(data: Any, s: int, begin: int, i: int, e: int) -> int:
    """13 to 19 digits by Luhn, from 2 to 9 on, together or in groups that spaces or dashes join.

    The first group has four digits or more, those in between three or more. Digits before or behind it, also
    as the whole part of a decimal, mean that it is no card; letters do not, and neither does what was matched
    up to `begin`.
    """
    if not 50 <= data[i] <= 57 or (i > begin and classes[data[i - 1]] & DIGIT):
        return -1
    decimal = i > s + 1 and data[i - 1] in (_DOT, _COMMA)
    if decimal and (classes[data[i - 2]] & DIGIT or ends_token(data, s, i - 1)):
        return -1
    join: Any = np.uint8(0)
    even: Any = 0
    odd: Any = 0
    k, n, group, found = i, 0, 0, -1
    while n < 20:
        if k == e or not classes[data[k]] & DIGIT:
            if n >= 13 and (odd if n & 1 else even) % 10 == 0:
                found = k
            if group < (_GROUP if n == group else 3) or k + 1 >= e or not classes[data[k + 1]] & DIGIT:
                return found
            if not (data[k] == join or (join == 0 and data[k] in (_SPACE, _MINUS))):
                return found
            join, group = data[k], 0
            k += 1
        digit = np.int64(data[k]) - 48
        twice = 2 * digit - (9 if digit > 4 else 0)
        even += digit if n & 1 else twice
        odd += twice if n & 1 else digit
        k, n, group = k + 1, n + 1, group + 1
    return found


@njit(nogil=True, cache=True, inner=True)
def _port(data: Any, i: int, e: int) -> int:
    """The end of `:port` at byte i, or i."""
    if i + 1 < e and data[i] == _COLON:
        value, k = number_at(data, i + 1, e, 5)
        if k > i + 1 and value <= 65535 and (k == e or not classes[data[k]] & WORD):
            return k
    return i


@njit(nogil=True, cache=True, inner=True)
def _prefix(data: Any, i: int, e: int, most: int) -> int:
    """The end of `/bits` at byte i, or i."""
    if i + 1 < e and data[i] == _SLASH:
        value, k = number_at(data, i + 1, e, 3)
        if k > i + 1 and value <= most and (k == e or not classes[data[k]] & WORD):
            return k
    return i


@njit(nogil=True, cache=True, inner=True)
def _four(data: Any, i: int, e: int) -> int:
    """The end of four numbers up to 255 with dots between them."""
    k = i
    for part in range(4):
        if part:
            if k == e or data[k] != _DOT:
                return -1
            k += 1
        value, end = number_at(data, k, e, 3)
        if end == k or value > 255:
            return -1
        k = end
    if k < e and classes[data[k]] & WORD:
        return -1
    more = k + 1 < e and data[k] == _DOT and (classes[data[k + 1]] & DIGIT or begins_token(data, k + 1, e))
    return -1 if more else k


@njit(nogil=True, cache=True, inner=True)
def ipv4_end(data: Any, s: int, i: int, e: int) -> int:
    """An IPv4 address, with a port or the bits of its network."""
    if i > s + 1 and data[i - 1] == _DOT and (classes[data[i - 2]] & WORD or ends_token(data, s, i - 1)):
        return -1
    k = _four(data, i, e)
    if k < 0:
        return -1
    bits = _prefix(data, k, e, 32)
    return bits if bits > k else _port(data, k, e)


@njit(nogil=True, cache=True, inner=True)
def _groups(data: Any, i: int, e: int) -> int:
    """The end of an IPv6 address without brackets: 8 groups, or fewer with `::`; it has a digit."""
    k, groups, gap, digits = i, 0, False, 0
    if k + 1 < e and data[k] == _COLON and data[k + 1] == _COLON:
        k, gap = k + 2, True
    while groups < 8:
        end = run_end(data, k, e, HEX)
        if groups <= 6 and (groups == 6 or gap) and end < e and data[end] == _DOT:
            four = _four(data, k, e)
            if four > 0:
                return four
        if end == k or end - k > 4 or (end < e and classes[data[end]] & WORD):
            break
        for j in range(k, end):
            digits += classes[data[j]] & DIGIT
        k, groups = end, groups + 1
        if k + 1 < e and data[k] == _COLON and data[k + 1] == _COLON and not gap:
            k, gap = k + 2, True
        elif groups < 8 and k + 1 < e and data[k] == _COLON and classes[data[k + 1]] & HEX:
            if run_end(data, k + 1, e, WORD) - k > 5:
                break
            k += 1
        else:
            break
    if not digits or not (groups == 8 or (gap and groups < 8)):
        return -1
    return -1 if k < e and classes[data[k]] & WORD else k


@njit(nogil=True, cache=True, inner=True)
def ipv6_end(data: Any, i: int, e: int) -> int:
    """An IPv6 address, with a zone or the bits of its network, or in brackets with a port."""
    bracket = data[i] == _OPEN
    k = _groups(data, i + 1 if bracket else i, e)
    if k < 0:
        return -1
    if k + 1 < e and data[k] == _PERCENT and classes[data[k + 1]] & WORD:
        k = run_end(data, k + 1, e, WORD)
    if bracket:
        return _port(data, k + 1, e) if k < e and data[k] == _CLOSE else -1
    return _prefix(data, k, e, 128)
