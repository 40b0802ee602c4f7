"""The fast path of WordPiece: pieces that the hash tables hold, and new ASCII words.

A text is split at ASCII white space and punctuation: a run of other bytes is a piece, and so is each
punctuation character. The kernel looks at 64 bytes at a time, and its branches nearly always go the same way.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.intrinsics import WINDOW, classes, leading_zeros, load8, trailing_zeros
from encoder.kernels.utf8 import clip
from encoder.kernels.wordpiece.trie import cut_word
from encoder.kernels.wordpiece.words import (
    ADDED,
    LONG,
    LONG_BYTES,
    LONG_SLOT,
    MISSING,
    MOST_IDS,
    SHORT_BYTES,
    SHORT_IDS,
    SHORT_SLOT,
    UNKNOWN,
    Words,
    append_ids,
    find,
    remember,
)

__all__ = ["ROOM", "START", "Cursor", "known_pieces", "piece_key"]

ROOM = WINDOW + LONG_BYTES
"""The number of bytes that may be read from any position in a text."""

_ALL, _NONE, _ONE = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0), np.uint64(1)
_CASE = np.uint64(0x2020202020202020)
_INT: Any = np.int64
_MOST_IDS = np.uint64(MOST_IDS)
# The mask for the k-th number of a key of n bytes is at n - 8 k + 24.
_KEEP = np.array([(1 << (8 * min(max(n, 0), 8))) - 1 for n in range(-24, LONG_BYTES + 1)], np.uint64)


class Cursor(NamedTuple):
    """The state of tokenising.

    Attributes:
        row: the text.
        at: its next byte.
        end: the end of its bytes within the limit.
        begin: where its ids start.
        p: where its ids end so far.
        unknown: how many of its words are unknown so far.
        piece: the length of the next piece, which is not in the tables; 0 to finish the text character by
            character.
    """

    row: int
    at: int
    end: int
    begin: int
    p: int
    unknown: int
    piece: int


START = Cursor(-1, 0, 0, 0, 0, 0, 0)
"""Before the first text."""


@njit(nogil=True, cache=True, inner=True)
def _stop(row: Any, at: Any, end: Any, begin: Any, p: Any, unknown: Any, piece: Any) -> Cursor:
    return Cursor(row, at, end, begin, _INT(p), _INT(unknown), piece)


@njit(nogil=True, cache=True, inner=True)
def known_pieces(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    cursor: Cursor,
    t: Any,
    cache: Words,
    word_bytes: NDArray[np.uint8],
    max_tokens: int,
    max_chars: int,
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
) -> Cursor:
    """Tokenise texts up to a piece that is neither in the tables nor an ASCII word.

    New words are added to `cache`; `word_bytes`, at least `(32,)`, is a buffer; `cursor` says where to
    continue; the other arguments are those of `encoder.kernels.wordpiece.tokenise`.

    Returns:
        Where it stopped; the row is `n_texts` if all texts are done.
    """
    row, i, e, first = cursor.row, cursor.at, cursor.end, cursor.begin
    p, unknown = np.uint64(cursor.p), np.uint64(cursor.unknown)
    n_texts, plain, case = ends.shape[0], t.plain_ascii, _CASE if t.lower else np.uint64(0)
    short, long, seconds = cache.short, cache.long, t.added_second
    while True:
        limit = np.uint64(first + max_tokens)
        while i < e:
            word, space, odd = classes(data, i)
            width = min(e - i, WINDOW)
            if width < e - i:  # the last piece may continue after the window
                width -= _INT(leading_zeros(~word))
            if width == 0 or not plain:
                return _stop(row, i, e, first, p, unknown, WINDOW if plain else 0)
            within = _ALL >> np.uint64(WINDOW - width)
            word &= within
            pieces = ((word & ~(word << _ONE)) | ~(word | space)) & within
            while pieces:
                start = trailing_zeros(pieces)
                pieces &= pieces - _ONE
                n = _INT(trailing_zeros(~(word >> start)))  # 0 for punctuation
                j = i + _INT(start)
                if n > LONG_BYTES or p + unknown + _MOST_IDS > limit:
                    n = n if n > LONG_BYTES else 0
                    return _stop(row, j, e, first, p, unknown, n)
                plain_word = n > 0 and (odd >> start) & ~(_ALL << np.uint64(n)) == 0
                fold = case if plain_word else np.uint64(0)
                n = max(n, 1)
                bytes8 = load8(data, j)
                k0, k1 = (bytes8 | fold) & _KEEP[n + 24], (load8(data, j + 8) | fold) & _KEEP[n + 16]
                k2, k3 = _NONE, _NONE
                count = np.uint64(LONG)
                if n <= SHORT_BYTES:
                    slot = find(short, SHORT_SLOT, k0, k1, _NONE, _NONE)
                    packed = short[slot + np.uint64(2)]
                    append_ids(packed, ids, p)
                    count = packed & np.uint64(15)
                    if short[slot] == 0:
                        count = np.uint64(MISSING)
                    if count <= 3:
                        p += count
                        continue
                    if count <= SHORT_IDS:
                        append_ids(short[slot + np.uint64(3)], ids, p + np.uint64(3))
                        p += count
                        continue
                    if count == ADDED:
                        if seconds[(bytes8 >> np.uint64(8)) & np.uint64(255)]:
                            return _stop(row, j, e, first, p, unknown, n)
                        p += _ONE
                        continue
                else:
                    k2 = (load8(data, j + 16) | fold) & _KEEP[n + 8]
                    k3 = (load8(data, j + 24) | fold) & _KEEP[n]
                if count == LONG:
                    slot = find(long, LONG_SLOT, k0, k1, k2, k3)
                    count = long[slot + np.uint64(4)] & np.uint64(15)
                    if long[slot] == 0:
                        count = np.uint64(MISSING)
                    elif count != UNKNOWN:
                        for k in range(0, MOST_IDS, 3):
                            append_ids(long[slot + np.uint64(4 + k // 3)], ids, p + np.uint64(k))
                        p += count
                        continue
                if count == UNKNOWN:
                    unknown += _ONE
                    continue
                if not plain_word or n > t.max_word_chars:
                    return _stop(row, j, e, first, p, unknown, n)
                for k in range(n):
                    word_bytes[k] = data[j + k] | np.uint8(fold)
                q = cut_word(word_bytes, n, t.cells, ids, _INT(p))
                remember(cache, k0, k1, k2, k3, n, ids, _INT(p), q)
                if q < 0:
                    unknown += _ONE
                elif np.uint64(q) + unknown > limit:
                    return _stop(row, j, e, first, p, unknown, 0)
                else:
                    p = np.uint64(q)
            i += width
        if row >= 0:
            ends[row] = p
        row += 1
        if row == n_texts:
            return _stop(row, i, e, first, p, unknown, 0)
        first, unknown = _INT(p), np.uint64(0)
        i, e = offsets[row], offsets[row + 1]
        if valid.shape[0] and not valid[row]:
            e = i
        if e - i > max_chars:
            e = clip(data, i, e, max_chars)


@njit(nogil=True, cache=True, inner=True)
def piece_key(data: Any, i: int, n: int, lower: bool, keys: Any) -> None:
    """The key by which `known_pieces` finds the n bytes from i on, with ASCII letters in lower case."""
    plain = lower
    for k in range(i, i + n):
        letter = 0x61 <= data[k] | 0x20 <= 0x7A
        plain = plain and (letter or 0x30 <= data[k] <= 0x39)
    fold = np.uint64(0x20) if plain else np.uint64(0)
    keys[:] = 0
    for k in range(n):
        keys[k >> 3] |= (np.uint64(data[i + k]) | fold) << np.uint64(8 * (k & 7))
