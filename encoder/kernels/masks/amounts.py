"""Where a time or a number ends that begins at a byte. -1 is none."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit
from encoder.kernels.masks.characters import DIGIT, LETTER, WORD, begins_token, classes, ends_token, number_at

__all__ = ["named_time_end", "number_end", "time_end"]

_SPACE, _PLUS, _COMMA, _MINUS, _DOT, _SLASH, _COLON, _PERCENT = 32, 43, 44, 45, 46, 47, 58, 37


def _keys(names: str) -> Any:
    """Short names as integers, four letters in each, as `_letters` reads them."""
    keys = [sum(ord(char) << 8 * k for k, char in enumerate(name)) for name in names.split()]
    found = np.array(sorted(keys), np.int64)
    found.flags.writeable = False
    return found


_MONTHS = _keys("jan feb mar apr may jun jul aug sep oct nov dec")
_DAYS = _keys("mon tue wed thu fri sat sun")
_ZONES = _keys("utc gmt")
_HALVES = _keys("am pm")
_UNITS = _keys(
    "ns us ms s sec secs m min mins h hr hrs d b k g t kb mb gb tb kib mib gib tib bps kbps mbps gbps "
    "hz khz mhz ghz w kw v mv a ma px mm cm km mg kg"
)


@njit(nogil=True, cache=True, inner=True)
def _letters(data: Any, i: int, e: int) -> tuple[Any, int]:
    """Up to four ASCII letters at byte i as an integer, in lower case, and their end; 0 if there are more."""
    key: Any = 0
    k = i
    while k < e and classes[data[k]] & LETTER:
        if k - i == 4:
            return 0, k
        key |= (np.int64(data[k]) | 32) << 8 * (k - i)
        k += 1
    return key, k


@njit(nogil=True, cache=True, inner=True)
def _is_one(key: int, keys: Any) -> bool:
    found = False
    for one in keys:
        found = found or one == key
    return found


@njit(nogil=True, cache=True, inner=True)
def _ends(data: Any, k: int, e: int) -> bool:
    """Whether no word goes on at byte k."""
    return k == e or not classes[data[k]] & WORD


@njit(nogil=True, cache=True, inner=True)
def _zone(data: Any, i: int, e: int) -> int:
    """The end of a time zone at byte i: Z, UTC, GMT, +02:00 or -0700, with or without a space; or i."""
    if i < e and data[i] | 32 == 122 and _ends(data, i + 1, e):
        return i + 1
    k = i + 1 if i < e and data[i] == _SPACE else i
    if k < e and data[k] in (_PLUS, _MINUS):
        hours, end = number_at(data, k + 1, e, 2)
        if end == k + 3 and hours <= 14:
            if end < e and data[end] == _COLON:
                end += 1
            minutes, last = number_at(data, end, e, 2)
            if last == end + 2 and minutes < 60 and _ends(data, last, e):
                return last
    key, end = _letters(data, k, e)
    return end if _is_one(key, _ZONES) and _ends(data, end, e) else i


@njit(nogil=True, cache=True, inner=True)
def _clock(data: Any, i: int, e: int) -> int:
    """The end of HH:MM or HH:MM:SS, with a fraction, a zone, am or pm; -1 if there is none at byte i."""
    hours, k = number_at(data, i, e, 2)
    if k in (i, e) or hours > 24 or data[k] != _COLON:
        return -1
    minutes, end = number_at(data, k + 1, e, 2)
    if end != k + 3 or minutes > 59:
        return -1
    k = end
    if k + 1 < e and data[k] == _COLON:
        seconds, end = number_at(data, k + 1, e, 2)
        if end == k + 3 and seconds <= 60:
            k = end
            if k + 1 < e and data[k] in (_DOT, _COMMA) and classes[data[k + 1]] & DIGIT:
                k = number_at(data, k + 1, e, 9)[1]
            k = _zone(data, k, e)
    if k + 1 < e and data[k] == _COLON and (classes[data[k + 1]] & WORD or begins_token(data, k + 1, e)):
        return -1
    if not _ends(data, k, e) or (k < e and data[k] == _SPACE):
        key, end = _letters(data, k + 1 if k < e and data[k] == _SPACE else k, e)
        if _is_one(key, _HALVES) and _ends(data, end, e):
            return end
    return k if _ends(data, k, e) else -1


@njit(nogil=True, cache=True, inner=True)
def _with_clock(data: Any, k: int, e: int) -> int:
    """The end of a date that ends at byte k, with the clock behind it; -1 if a word goes on there."""
    if k < e and (data[k] in (_SPACE, _COLON) or data[k] | 32 == 116):
        clock = _clock(data, k + 1, e)
        if clock > 0:
            return clock
    return k if _ends(data, k, e) else -1


@njit(nogil=True, cache=True, inner=True)
def _year_first(data: Any, i: int, e: int) -> int:
    """The end of YYYY-MM-DD, also with `/` or `.`, and its clock."""
    year, k = number_at(data, i, e, 5)
    if k != i + 4 or year < 1000 or k == e or data[k] not in (_MINUS, _SLASH, _DOT):
        return -1
    month, end = number_at(data, k + 1, e, 2)
    if end != k + 3 or not 1 <= month <= 12 or end == e or data[end] != data[k]:
        return -1
    day, last = number_at(data, end + 1, e, 2)
    return _with_clock(data, last, e) if last == end + 3 and 1 <= day <= 31 else -1


@njit(nogil=True, cache=True, inner=True)
def _day_first(data: Any, i: int, e: int) -> int:
    """The end of DD.MM.YYYY or MM/DD/YYYY, of 15 Jun 2005 or 15/Jun/2005, and its clock."""
    first, k = number_at(data, i, e, 2)
    if k in (i, e) or not 1 <= first <= 31:
        return -1
    join = data[k]
    if join not in (_MINUS, _SLASH, _DOT, _SPACE):
        return -1
    second, end = number_at(data, k + 1, e, 2)
    if end == k + 1:
        key, end = _letters(data, k + 1, e)
        if not _is_one(key, _MONTHS):
            return -1
    elif not 1 <= second <= 31 or join == _SPACE:
        return -1
    if end == e or data[end] != join:
        return -1
    year, last = number_at(data, end + 1, e, 5)
    if last != end + 5 or not 1900 <= year < 2200:
        return -1
    return _with_clock(data, last, e)


@njit(nogil=True, cache=True, inner=True)
def time_end(data: Any, s: int, i: int, e: int) -> int:
    """A date, a clock, or both, from a digit on; not the rest of longer groups, as in 10:20:30:40."""
    if i > s + 1 and data[i - 1] == _COLON and (classes[data[i - 2]] & DIGIT or ends_token(data, s, i - 1)):
        return -1
    k = _clock(data, i, e)
    if k < 0:
        k = _year_first(data, i, e)
    return k if k > 0 else _day_first(data, i, e)


@njit(nogil=True, cache=True, inner=True)
def named_time_end(data: Any, i: int, e: int) -> int:
    """A date and clock that begin with a month or day: Jun 15 14:53:30; Wed, 15 Jun 2005; with a year."""
    key, k = _letters(data, i, e)
    if _is_one(key, _DAYS):
        if k < e and data[k] == _COMMA:
            k += 1
        if k == e or data[k] != _SPACE:
            return -1
        if k + 1 < e and classes[data[k + 1]] & DIGIT:
            return _day_first(data, k + 1, e)
        key, k = _letters(data, k + 1, e)
    if not _is_one(key, _MONTHS) or k == e or data[k] != _SPACE:
        return -1
    k += 2 if k + 1 < e and data[k + 1] == _SPACE else 1
    day, end = number_at(data, k, e, 2)
    if end in (k, e) or not 1 <= day <= 31 or data[end] != _SPACE:
        return -1
    clock = _clock(data, end + 1, e)
    if clock < 0:
        return -1
    year, last = number_at(data, clock + 1, e, 5)
    spaced = clock < e and data[clock] == _SPACE
    return last if spaced and last == clock + 5 and 1900 <= year < 2200 and _ends(data, last, e) else clock


@njit(nogil=True, cache=True, inner=True)
def number_end(data: Any, i: int, e: int) -> int:
    """Digits, with groups and decimals, an exponent, and a unit or % at once behind them."""
    k = i
    while True:
        while k < e and classes[data[k]] & DIGIT:
            k += 1
        if not (k + 1 < e and data[k] in (_DOT, _COMMA) and classes[data[k + 1]] & DIGIT):
            break
        k += 1
    if k == e:
        return k
    if data[k] == _PERCENT:
        return k + 1 if _ends(data, k + 1, e) else k
    if k + 2 < e and data[k] in (194, 206) and data[k + 1] in (181, 188) and data[k + 2] == 115:  # µs
        return k + 3 if _ends(data, k + 3, e) else k
    if not classes[data[k]] & LETTER:
        return k
    if data[k] | 32 == 101:
        end = k + 2 if k + 1 < e and data[k + 1] in (_PLUS, _MINUS) else k + 1
        if end < e and classes[data[end]] & DIGIT:
            while end < e and classes[data[end]] & DIGIT:
                end += 1
            return end if _ends(data, end, e) else -1
    key, end = _letters(data, k, e)
    return end if _is_one(key, _UNITS) and _ends(data, end, e) else -1
