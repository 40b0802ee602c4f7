"""Pieces of text of any length with their token ids: one hash table that is filled as texts come.

A slot is two numbers: the hash of a piece (0 is a free slot) and where its record begins in the arena. A
record is a head (bytes of the piece, whether a space is to be thought before it, number of ids), the piece's
bytes 8 to a number, the first lowest and the rest zero, and its ids, two to a number. Records of frequent
pieces lie near each other, and most take 24 bytes. A piece is found only where all its bytes are equal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.intrinsics import load8

__all__ = ["find_piece", "remember_piece", "remember_pieces"]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LEAD = np.uint64(1) << np.uint64(31)
_LENGTH = _LEAD - np.uint64(1)
_LOW32 = np.uint64(0xFFFFFFFF)


@njit(nogil=True, cache=True, inner=True)
def _bytes8(data: Any, i: int, n: int) -> Any:
    """The next 8 of n bytes at byte i; what is behind the n is zero."""
    if n >= 8:
        return load8(data, i)
    if i + 8 <= data.shape[0]:
        return load8(data, i) & ((np.uint64(1) << np.uint64(8 * n)) - np.uint64(1))
    word = np.uint64(0)
    for k in range(n):
        word |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return word


@njit(nogil=True, cache=True, inner=True)
def _hash(data: Any, i: int, n: int, lead: bool) -> Any:
    mixed = np.uint64(2 * n + lead)
    k = 0
    while k < n:
        mixed = (mixed ^ _bytes8(data, i + k, n - k)) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(32)
        k += 8
    return mixed | np.uint64(1)


@njit(nogil=True, cache=True, inner=True)
def find_piece(data: Any, i: int, n: int, lead: bool, slots: Any, arena: Any) -> tuple[Any, Any]:
    """Where the ids of a piece are: the first of them counted in int32 from the arena's beginning, how many.

    Args:
        data: uint8, holds the piece's UTF-8.
        i: its first byte.
        n: how many bytes it has, at least one.
        lead: whether a space is to be thought before it.
        slots: `(n_slots, 2)` uint64, a power of two, with a free slot.
        arena: uint64, the records.

    Returns:
        First id and number of ids; (-1, 0) if the piece is not there.
    """
    hashed = _hash(data, i, n, lead)
    mask = slots.shape[0] - 1
    slot = np.int64(hashed >> np.uint64(1)) & mask
    head = np.uint64(n) | (_LEAD if lead else np.uint64(0))
    while slots[slot, 0] != 0:
        if slots[slot, 0] == hashed:
            at = np.int64(slots[slot, 1])
            if arena[at] & _LOW32 == head:
                k, w = 0, at + 1
                while k < n and arena[w] == _bytes8(data, i + k, n - k):
                    k += 8
                    w += 1
                if k >= n:
                    return 2 * w, np.int64(arena[at] >> np.uint64(32))
        slot = (slot + 1) & mask
    return np.int64(-1), np.int64(0)


@njit(nogil=True, cache=True, inner=True)
def remember_piece(
    data: Any,
    i: int,
    n: int,
    lead: bool,
    ids: Any,
    first: int,
    last: int,
    slots: Any,
    arena: Any,
    used: Any,
) -> bool:
    """Put a piece that is not there into the table.

    Args:
        data: as in `find_piece`, with `i`, `n` and `lead`.
        i: the piece's first byte.
        n: its bytes.
        lead: whether a space is to be thought before it.
        ids: int32, of which `ids[first:last]` are the piece's.
        first: its first id.
        last: behind its last id.
        slots: `(n_slots, 2)` uint64.
        arena: uint64.
        used: `(2,)` int64, pieces and numbers of the arena that are taken.

    Returns:
        Whether it was put there; False when the table is full.
    """
    n_words, n_ids = (n + 7) >> 3, last - first
    at = used[1]
    w = at + 1 + n_words
    if used[0] * 8 >= slots.shape[0] * 7 or w + ((n_ids + 1) >> 1) > arena.shape[0]:
        return False
    arena[at] = np.uint64(n) | (_LEAD if lead else np.uint64(0)) | (np.uint64(n_ids) << np.uint64(32))
    for k in range(n_words):
        arena[at + 1 + k] = _bytes8(data, i + 8 * k, n - 8 * k)
    for k in range(0, n_ids, 2):
        arena[w] = np.uint64(ids[first + k])
        if k + 1 < n_ids:
            arena[w] |= np.uint64(ids[first + k + 1]) << np.uint64(32)
        w += 1
    hashed = _hash(data, i, n, lead)
    mask = slots.shape[0] - 1
    slot = np.int64(hashed >> np.uint64(1)) & mask
    while slots[slot, 0] != 0:
        slot = (slot + 1) & mask
    slots[slot, 0], slots[slot, 1] = hashed, np.uint64(at)
    used[0] += 1
    used[1] = w
    return True


@njit(nogil=True, cache=True)
def remember_pieces(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    leads: NDArray[np.bool_],
    ids: NDArray[np.int32],
    id_ends: NDArray[np.int64],
    slots: NDArray[np.uint64],
    arena: NDArray[np.uint64],
    used: NDArray[np.int64],
) -> bool:
    """Put pieces into the table, those that are not there yet.

    Args:
        data: the pieces' bytes, one behind the other.
        ends: `(n,)` where each piece ends.
        leads: `(n,)` whether a space is to be thought before it.
        ids: the pieces' ids, one behind the other.
        id_ends: `(n,)` where the ids of each end.
        slots: as in `remember_piece`, with `arena` and `used`.
        arena: the records.
        used: what is taken.

    Returns:
        Whether all are there now; False when the table is full.
    """
    i, first = 0, 0
    for k in range(ends.shape[0]):
        n = ends[k] - i
        if find_piece(data, i, n, leads[k], slots, arena)[0] < 0 and not remember_piece(
            data, i, n, leads[k], ids, first, id_ends[k], slots, arena, used
        ):
            return False
        i, first = ends[k], id_ends[k]
    return True
