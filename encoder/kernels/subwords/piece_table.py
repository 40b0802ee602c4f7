"""A hash table of pieces of any length and their token ids, filled as texts arrive.

A slot holds two numbers: the hash of a piece (0 if the slot is free) and the start of its record in the
arena. A record holds a header (length of the piece, whether a space is assumed before it, number of ids), the
piece's bytes, 8 per number, little-endian and padded with zeros, and its ids, 2 per number. Records of
frequent pieces lie close together, and most take 24 bytes. Look-ups compare all bytes of a piece.

Arguments that the functions share: `data`, uint8, the piece's UTF-8 from byte `i` on, `n` bytes, at least
one; `lead`, whether a space is assumed before it; `slots`, `(n_slots, 2)` uint64, a power of two with a free
slot; `arena`, uint64, the records; `used`, `(2,)` int64, how many slots and numbers of the arena are taken.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.intrinsics import load8

__all__ = ["find_piece", "remember_piece", "remember_pieces"]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LEAD = np.uint64(1) << np.uint64(31)
_LOW32 = np.uint64(0xFFFFFFFF)


@njit(nogil=True, cache=True, inner=True)
def _bytes8(data: Any, i: int, n: int) -> Any:
    """The next 8 of n bytes at byte i; zeros after the n bytes."""
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
    """The index of a piece's first id in the arena viewed as int32, and the number of ids.

    (-1, 0) if the table does not hold the piece.
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
    """Add a new piece with the ids `ids[first:last]`; False if the table is full."""
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
    """Add the pieces that the table does not hold yet.

    Args:
        data: the pieces' bytes, concatenated.
        ends: `(n,)` the end of each piece in them.
        leads: `(n,)` whether a space is assumed before it.
        ids: the pieces' ids, concatenated.
        id_ends: `(n,)` the end of each piece's ids in them.
        slots: the slots.
        arena: the records.
        used: how much of both is taken.

    Returns:
        Whether the table holds all of them now; False if it is full.
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
