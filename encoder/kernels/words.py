"""Words of up to 32 bytes as keys of a hash table: found in a text 8 bytes at a time, looked up, remembered.

A slot is a cache line of eight numbers: four of key, the word's bytes with the first one lowest (0 in the
first is a free slot), and four of token ids, three in each in 20 bits. The lowest 4 bits of number 4 are how
many ids there are, or 15 for a word that the vocabulary cannot make.
"""

from typing import Any

import numpy as np
from numba import njit

from encoder.kernels.memory import trailing_zeros

__all__ = ["KEY_BYTES", "ascii_word", "first_bytes", "look_up", "remember_word"]

KEY_BYTES = 32
"""Bytes of a word that fit into the keys."""

_PIECES = 12  # token ids that fit into a slot
_UNKNOWN = 15  # in place of their number
_ID_BITS, _ID_MASK = np.uint64(20), np.uint64((1 << 20) - 1)
_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_LOW7, _CASE = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x2020202020202020)


@njit(nogil=True, cache=True, inline="always")
def first_bytes(bytes8: Any, n: Any) -> Any:
    """The lowest n of 8 bytes, the others zero."""
    if n >= 8:
        return bytes8
    return bytes8 & ((np.uint64(1) << np.uint64(8 * max(n, 0))) - np.uint64(1))


@njit(nogil=True, cache=True, inline="always")
def ascii_word(bytes8: Any, lower: bool) -> tuple[Any, Any]:
    """How many of 8 bytes, from the lowest on, are ASCII letters or digits, and these as a key.

    All 8 at once: adding moves a byte's high bit when it is at or above a bound (Lamport 1975).
    """
    folded = bytes8 | _CASE
    letter = (folded & _LOW7) + _ONES * np.uint64(0x80 - 0x61)
    behind_z = (folded & _LOW7) + _ONES * np.uint64(0x80 - 0x7B)
    digit = (bytes8 & _LOW7) + _ONES * np.uint64(0x80 - 0x30)
    behind_9 = (bytes8 & _LOW7) + _ONES * np.uint64(0x80 - 0x3A)
    stop = (((letter & ~behind_z) | (digit & ~behind_9)) & ~bytes8 & _HIGH) ^ _HIGH
    key = folded if lower else bytes8
    if stop == 0:
        return 8, key
    n = np.int64(trailing_zeros(stop)) >> 3
    return n, first_bytes(key, n)


@njit(nogil=True, cache=True, inline="always")
def _slot(k0: Any, k1: Any, k2: Any, k3: Any, n_slots: int) -> Any:
    """Where to look for a word first (multiplicative hashing, Knuth 6.4)."""
    mixed = (k0 ^ (k1 * np.uint64(0xC2B2AE3D27D4EB4F))) * np.uint64(0x9E3779B97F4A7C15)
    if k2:
        mixed ^= (k2 ^ (k3 * np.uint64(0xD6E8FEB86659FD93))) * np.uint64(0xA0761D6478BD642F)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(n_slots - 1))


@njit(nogil=True, cache=True, inline="always")
def look_up(words: Any, k0: Any, k1: Any, k2: Any, k3: Any, ids: Any, p: int) -> Any:
    """Append the ids of a word in the hash table; the new end of `ids`, -1 for unknown, -2 if not there."""
    slot = _slot(k0, k1, k2, k3, words.shape[0])
    while words[slot, 0] != 0:
        if words[slot, 0] == k0 and words[slot, 1] == k1 and words[slot, 2] == k2 and words[slot, 3] == k3:
            packed = words[slot, 4]
            n = np.int64(packed & np.uint64(15))
            for k in range(3):  # written whether they count or not: no branch to guess wrong
                ids[p + k] = (packed >> (np.uint64(4) + _ID_BITS * np.uint64(k))) & _ID_MASK
            if n <= 3:
                return p + n
            if n == _UNKNOWN:
                return -1
            for k in range(3, n):
                shift = np.uint64(4) + _ID_BITS * np.uint64(k % 3)
                ids[p + k] = (words[slot, 4 + k // 3] >> shift) & _ID_MASK
            return p + n
        slot = (slot + 1) & (words.shape[0] - 1)
    return -2


@njit(nogil=True, cache=True)
def remember_word(words: Any, keys: Any, ids: Any, first: int, last: int) -> bool:
    """Put a word into the hash table.

    Args:
        words: `(n_slots, 8)` uint64, the table, with a free slot.
        keys: `(4,)` uint64, the word's bytes.
        ids: token ids, of which `ids[first:last]` are the word's.
        first: its first id.
        last: behind its last id; less than `first` for an unknown word.

    Returns:
        Whether it was put there: words of more than 12 pieces are not, nor ids of more than 20 bits.
    """
    if last - first > _PIECES:
        return False
    for k in range(first, last):
        if ids[k] >= 1 << 20:
            return False
    slot = _slot(keys[0], keys[1], keys[2], keys[3], words.shape[0])
    while words[slot, 0] != 0:
        slot = (slot + 1) & (words.shape[0] - 1)
    for k in range(4):
        words[slot, k] = keys[k]
        words[slot, 4 + k] = 0
    words[slot, 4] = _UNKNOWN if last < first else last - first
    for k in range(last - first):
        words[slot, 4 + k // 3] |= np.uint64(ids[first + k]) << (np.uint64(4) + _ID_BITS * np.uint64(k % 3))
    return True
