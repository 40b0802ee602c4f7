"""Where a URL, an e-mail address or a path ends that begins at a byte. -1 is none."""

from typing import Any

from encoder.kernels.compiled import njit
from encoder.kernels.masks.characters import DIGIT, LETTER, PATH, URL, WORD, classes, run_end

__all__ = ["domain_end", "path_end", "scheme_end", "url_end", "www_end"]

_SPACE, _SLASH, _BACKSLASH, _COLON, _DOT, _TILDE = 32, 47, 92, 58, 46, 126
_PLUS, _MINUS = 43, 45


@njit(nogil=True, cache=True, inner=True)
def _without(data: Any, i: int, e: int) -> int:
    """The end of the bytes i to e without the punctuation that ends a sentence or closes a bracket."""
    while e > i:
        char = data[e - 1]
        if char not in (33, 39, 41, 44, 46, 58, 59, 63, 93):  # !'),. and :;?]
            break
        e -= 1
    return e


@njit(nogil=True, cache=True, inner=True)
def scheme_end(data: Any, i: int, e: int) -> int:
    """The end of the characters of a URL's scheme from byte i on."""
    while i < e and (classes[data[i]] & WORD or data[i] in (_PLUS, _MINUS, _DOT)):
        i += 1
    return i


@njit(nogil=True, cache=True, inner=True)
def url_end(data: Any, i: int, e: int) -> int:
    """The end of a URL whose scheme ends at byte i."""
    if i + 3 > e or data[i] != _COLON or data[i + 1] != _SLASH or data[i + 2] != _SLASH:
        return -1
    k = _without(data, i + 3, run_end(data, i + 3, e, URL))
    return k if k > i + 3 else -1


@njit(nogil=True, cache=True, inner=True)
def www_end(data: Any, i: int, e: int) -> int:
    """The end of an address that begins with `www.`."""
    if i + 5 > e or data[i + 3] != _DOT or not classes[data[i + 4]] & WORD:
        return -1
    for k in range(i, i + 3):
        if data[k] | 32 != 119:
            return -1
    return _without(data, i + 4, run_end(data, i + 4, e, URL))


@njit(nogil=True, cache=True, inner=True)
def domain_end(data: Any, i: int, e: int) -> int:
    """The end of the domain of an e-mail address at byte i: names and dots; the last one is no number."""
    found, first = -1, True
    while i < e:
        k = i
        while k < e and (classes[data[k]] & WORD or data[k] == _MINUS or data[k] >= 128):
            k += 1
        last = k
        while last > i and data[last - 1] == _MINUS:
            last -= 1
        if last == i:
            return found
        if not first and last >= i + 2 and not classes[data[i]] & DIGIT:
            found = last
        if last < k or k == e or data[k] != _DOT:
            return found
        i, first = k + 1, False
    return found


@njit(nogil=True, cache=True, inner=True)
def _may_begin(data: Any, s: int, i: int) -> bool:
    """Whether a path may begin at byte i: behind white space, a quote, an opening bracket, or `=,:;|`."""
    if i == s:
        return True
    char = data[i - 1]
    return char <= _SPACE or char in (34, 39, 96, 40, 91, 123, 61, 44, 58, 59, 124)


@njit(nogil=True, cache=True, inner=True)
def _parts_end(data: Any, i: int, e: int, windows: bool) -> int:
    """The end of the parts of a path at byte i; -1 if they have no letter and no digit."""
    k, found = i, False
    while True:
        while k < e and (classes[data[k]] & PATH or (windows and data[k] == _BACKSLASH)):
            found = found or classes[data[k]] & WORD != 0 or data[k] >= 128
            k += 1
        if not (windows and k + 1 < e and data[k] == _SPACE):
            break
        # A name with a space in it, as in `C:\Program Files\x`: a backslash follows before other spaces.
        end = run_end(data, k + 1, e, PATH)
        if end == k + 1 or end == e or data[end] != _BACKSLASH:
            break
        k = end
    while k > i and data[k - 1] == _DOT:
        k -= 1
    return k if found else -1


@njit(nogil=True, cache=True, inner=True)
def path_end(data: Any, s: int, begin: int, i: int, e: int) -> int:
    """The end of a Unix or Windows path from its root or from `~/`, `./` or `../`.

    `begin` is where the last match ended: a drive behind it would be found behind its token.
    """
    if not _may_begin(data, s, i):
        windows = classes[data[i]] & LETTER and (i == begin or not classes[data[i - 1]] & WORD)
        if not windows:
            return -1
    char = data[i]
    if classes[char] & LETTER:
        drive = i + 3 < e and data[i + 1] == _COLON and data[i + 2] in (_BACKSLASH, _SLASH)
        return _parts_end(data, i + 2, e, True) if drive else -1
    if char == _BACKSLASH:
        return _parts_end(data, i + 2, e, True) if i + 2 < e and data[i + 1] == _BACKSLASH else -1
    k = i
    if char == _TILDE:
        k += 1
    elif char == _DOT:
        k += 2 if i + 1 < e and data[i + 1] == _DOT else 1
    if k >= e or data[k] != _SLASH:
        return -1
    end = _parts_end(data, k + 1, e, False)
    return end if end > k + 2 or (end > 0 and k > i) else -1
