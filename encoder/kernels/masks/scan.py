"""Find what masks match in texts, in one pass over their UTF-8 bytes, and put tokens in its place."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit
from encoder.kernels.masks.amounts import named_time_end, number_end, time_end
from encoder.kernels.masks.characters import (
    AT,
    COLON,
    DIGIT,
    EMAIL,
    HEX,
    LETTER,
    TIME,
    WORD,
    classes,
    marks,
    run_end,
)
from encoder.kernels.masks.identifiers import card_end, hex_end, iban_end, ipv4_end, ipv6_end, uuid_end
from encoder.kernels.masks.places import domain_end, path_end, scheme_end, url_end, www_end

__all__ = ["KINDS", "find", "replace"]

KINDS = ("url", "email", "path", "uuid", "iban", "card", "ip", "hex", "time", "number")
"""The masks, in the order in which they are tried at a byte; one that begins earlier comes first."""

_URL, _EMAIL, _PATH, _UUID, _IBAN, _CARD, _IP, _HEX, _TIME, _NUMBER = range(10)
_AT, _SLASH, _BACKSLASH, _COLON, _DOT, _PLUS, _MINUS, _TILDE, _OPEN = 64, 47, 92, 58, 46, 43, 45, 126, 91


@njit(nogil=True, cache=True, inner=True)
def _of_word(
    data: Any, s: int, begin: int, i: int, stop: int, e: int, seen: int, wanted: int
) -> tuple[int, int]:
    """The end of what a mask matches at the start of the word i to `stop`, and which mask; or -1.

    `begin` is where the last match ended, or the text's start s: what stands before it becomes a token.
    `seen` is LETTER, DIGIT or both: what the word has.
    """
    digit = classes[data[i]] & DIGIT
    if wanted >> _PATH & 1 and not digit and stop == i + 1:
        end = path_end(data, s, begin, i, e)
        if end > 0:
            return end, _PATH
    if seen & DIGIT:
        if wanted >> _UUID & 1 and stop == i + 8:
            end = uuid_end(data, i, e)
            if end > 0:
                return end, _UUID
        if wanted >> _IBAN & 1 and not digit and stop >= i + 4:
            end = iban_end(data, i, e)
            if end > 0:
                return end, _IBAN
    elif wanted >> _UUID & 1 and stop == i + 8:  # the first part may have letters alone
        end = uuid_end(data, i, e)
        if end > 0:
            return end, _UUID
    if wanted >> _CARD & 1 and digit:
        end = card_end(data, s, begin, i, e)
        if end > 0:
            return end, _CARD
    if wanted >> _IP & 1 and stop < e:
        if digit and data[stop] == _DOT and stop <= i + 3:
            end = ipv4_end(data, s, i, e)
            if end > 0:
                return end, _IP
        if data[stop] == _COLON and stop <= i + 4 and classes[data[i]] & HEX:
            end = ipv6_end(data, i, e)
            if end > 0:
                return end, _IP
    if wanted >> _HEX & 1 and (seen == WORD or stop == i + 2):
        end = hex_end(data, i, e)
        if end > 0:
            return end, _HEX
    if wanted >> _TIME & 1:
        end = -1
        if digit:
            end = time_end(data, s, i, e)
        elif stop == i + 3:
            end = named_time_end(data, i, e)
        if end > 0:
            return end, _TIME
    if wanted >> _NUMBER & 1 and digit:
        end = number_end(data, i, e)
        if end > 0:
            return end, _NUMBER
    return -1, -1


@njit(nogil=True, cache=True, inner=True)
def _of_sign(data: Any, s: int, begin: int, i: int, e: int, wanted: int) -> tuple[int, int]:
    """The end of what a mask matches from the punctuation at byte i on, and which mask; or -1."""
    char = data[i]
    if wanted >> _PATH & 1 and (char in (_SLASH, _BACKSLASH) or char in (_DOT, _TILDE)):
        end = path_end(data, s, begin, i, e)
        if end > 0:
            return end, _PATH
    if wanted >> _IP & 1 and i + 2 < e and char in (_COLON, _OPEN):
        begins = (
            data[i + 1] == _COLON if char == _COLON else classes[data[i + 1]] & HEX or data[i + 1] == _COLON
        )
        before = i > begin and (classes[data[i - 1]] & WORD or data[i - 1] == _COLON)
        if begins and not (char == _COLON and before):
            end = ipv6_end(data, i, e)
            if end > 0:
                return end, _IP
    return -1, -1


@njit(nogil=True, cache=True)
def find(data: Any, offsets: Any, wanted: int, first: Any, last: Any, kinds: Any, ends: Any) -> int:
    """Find the matches of texts, from left to right; none overlaps another.

    Args:
        data: uint8, the UTF-8 of all texts.
        offsets: `(n_texts + 1,)` int64: text r is the bytes `offsets[r]` to `offsets[r + 1]`.
        wanted: bit k for the mask `KINDS[k]`.
        first: int64, gets the first byte of each match; with room for as many as there are bytes.
        last: int64, gets the end of each match.
        kinds: uint8, gets the number of the mask of each match.
        ends: `(n_texts,)` int64, gets the number of matches up to the end of each text.

    Returns:
        The number of matches.
    """
    n = 0
    for row in range(len(offsets) - 1):
        s, e = offsets[row], offsets[row + 1]
        has: Any = np.uint8(0)  # what every match of a mask needs
        for k in range(s, e):
            has |= marks[data[k]]
        url_from = s if wanted >> _URL & 1 and has & COLON else e  # what lies before was tried and is none
        email_from = s if wanted >> _EMAIL & 1 and has & AT else e
        i, begin = s, s
        while i < e:
            found, end, kind = classes[data[i]], -1, -1
            if not found & EMAIL and data[i] not in (_SLASH, _BACKSLASH, _COLON, _TILDE, _OPEN):
                i += 1
                continue
            if found & LETTER:
                if i >= url_from:
                    url_from = scheme_end(data, i, e)
                    end, kind = url_end(data, url_from, e), _URL
                if end < 0 and wanted >> _URL & 1 and data[i] | 32 == 119:
                    end, kind = www_end(data, i, e), _URL
            if end < 0 and i >= email_from and found & EMAIL and data[i] != 39:
                email_from = run_end(data, i, e, EMAIL)
                if email_from + 1 < e and data[email_from] == _AT:
                    end, kind = domain_end(data, email_from + 1, e), _EMAIL
            stop = i + 1
            if end < 0 and found & WORD:
                seen: Any = found & WORD
                while stop < e and classes[data[stop]] & WORD:
                    seen |= classes[data[stop]] & WORD
                    stop += 1
                # A word of letters alone may begin a drive, an address, a UUID, pairs or a time.
                joined = stop < e and data[stop] in (_COLON, _MINUS)
                if seen != LETTER or joined or (stop == i + 3 and has & TIME == TIME):
                    end, kind = _of_word(data, s, begin, i, stop, e, seen, wanted)
                if end < 0 and wanted >> _CARD & 1 and seen == WORD and stop >= i + 13:
                    for k in range(i + 1, stop):  # letters do not protect a card
                        end = card_end(data, s, begin, k, e)
                        if end > 0:
                            i, kind = k, _CARD
                            break
            elif end < 0:
                end, kind = _of_sign(data, s, begin, i, e, wanted)
            if end < 0:
                i = stop
                continue
            if kind == _NUMBER and i > begin and data[i - 1] in (_PLUS, _MINUS):
                i -= i - 1 == s or not (classes[data[i - 2]] & WORD or data[i - 2] in (_PLUS, _MINUS))
            begin = end
            first[n], last[n], kinds[n] = i, end, kind
            n += 1
            i = end
        ends[row] = n
    return n


@njit(nogil=True, cache=True)
def replace(
    data: Any,
    offsets: Any,
    first: Any,
    last: Any,
    kinds: Any,
    ends: Any,
    tokens: Any,
    out: Any,
    out_offsets: Any,
) -> None:
    """Copy texts with a token in the place of each match.

    Args:
        data: as for `find`.
        offsets: as for `find`.
        first: as `find` gave it, and so the next three.
        last: the end of each match.
        kinds: the mask of each match.
        ends: the number of matches up to the end of each text.
        tokens: `(n_masks, n)` uint8: the token of each mask, padded with zeros.
        out: uint8, gets the texts; with room for them.
        out_offsets: `(n_texts + 1,)` int64, gets their offsets.
    """
    n, p = 0, 0
    out_offsets[0] = 0
    for row in range(len(offsets) - 1):
        i, e = offsets[row], offsets[row + 1]
        while i < e or n < ends[row]:
            stop = first[n] if n < ends[row] else e
            for k in range(i, stop):
                out[p] = data[k]
                p += 1
            i = stop
            if n < ends[row]:
                token = tokens[kinds[n]]
                k = 0
                while k < len(token) and token[k]:
                    out[p] = token[k]
                    p, k = p + 1, k + 1
                i = last[n]
                n += 1
        out_offsets[row + 1] = p
