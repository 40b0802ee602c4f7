"""Hash tables of short pieces and their token ids, for WordPiece.

A key consists of the piece's bytes as little-endian numbers of 8 bytes, padded with zeros. Pieces of up to 16
bytes and 6 token ids, nearly all, have slots of half a cache line: two numbers of key (the first is 0 in a
free slot) and two numbers with three ids of 20 bits each. Pieces of up to 32 bytes and 12 ids have a table of
their own, whose slots have four numbers of key and four of ids. The lowest 4 bits of the first number of ids
are their count, or one of the codes below.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from encoder.kernels.compiled import njit

__all__ = [
    "ADDED",
    "ID_BITS",
    "ID_MASK",
    "LONG",
    "LONG_BYTES",
    "MISSING",
    "MOST_IDS",
    "SHORT_BYTES",
    "UNKNOWN",
    "Words",
    "append_ids",
    "find",
    "is_full",
    "remember",
    "remember_tokens",
]

SHORT_BYTES, LONG_BYTES = 16, 32
"""The most bytes of a piece in the two tables."""
SHORT_IDS, MOST_IDS = 6, 12
"""The most token ids of a piece in them."""
SHORT_SLOT, LONG_SLOT = 4, 8
"""The numbers in a slot of them."""

MISSING = 12
"""Instead of the count, never in a table: the piece is not there."""
LONG = 13
"""Instead of the count: the ids are in the other table."""
ADDED = 14
"""Instead of the count: one id, and an added token may start here."""
UNKNOWN = 15
"""Instead of the count: the word is unknown."""

ID_BITS, ID_MASK = np.uint64(20), np.uint64((1 << 20) - 1)


class Words(NamedTuple):
    """Pieces and their token ids.

    Attributes:
        short: `(4 * n_slots,)` uint64; the number of slots is a power of two.
        long: `(8 * n_long_slots,)` uint64; the number of slots is a power of two.
        used: `(2,)` int64, how many slots of each are taken.
    """

    short: NDArray[np.uint64]
    long: NDArray[np.uint64]
    used: NDArray[np.int64]


@njit(nogil=True, cache=True, inline="always", inner=True)
def _first_slot(k0: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """The hash of a key: multiplicative hashing (Knuth 6.4), with the high bits folded into the low ones."""
    mixed = k0 * np.uint64(0x9E3779B97F4A7C15) + k1 * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed += k2 * np.uint64(0xA0761D6478BD642F) + k3 * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ (mixed >> np.uint64(32))


@njit(nogil=True, cache=True)
def find(table: Any, numbers: int, k0: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """The start of a key's slot of `numbers` numbers, or of the free slot where it belongs."""
    step, last = np.uint64(numbers), np.uint64(table.shape[0] - 1)
    slot = (_first_slot(k0, k1, k2, k3) * step) & last
    while table[slot] != 0:
        same = table[slot] == k0 and table[slot + np.uint64(1)] == k1
        if numbers == LONG_SLOT:
            same = same and table[slot + np.uint64(2)] == k2 and table[slot + np.uint64(3)] == k3
        if same:
            break
        slot = (slot + step) & last
    return slot


@njit(nogil=True, cache=True, inline="always", inner=True)
def append_ids(packed: Any, ids: Any, p: Any) -> None:
    """Write the three ids of a number, used or not, which saves a branch."""
    ids[p] = (packed >> np.uint64(4)) & ID_MASK
    ids[p + np.uint64(1)] = (packed >> (np.uint64(4) + ID_BITS)) & ID_MASK
    ids[p + np.uint64(2)] = packed >> (np.uint64(4) + ID_BITS + ID_BITS)


@register_jitable  # stays a Python function for Python, which is faster than a kernel call
def is_full(slots: int, used: int) -> bool:
    """Whether three quarters of the slots are taken."""
    return used >= (slots >> 2) * 3


@njit(nogil=True, cache=True, inner=True)
def remember(
    words: Words, k0: Any, k1: Any, k2: Any, k3: Any, n_bytes: int, ids: Any, first: Any, last: Any
) -> None:
    """Add a new piece, if it fits and its table is not full.

    Args:
        words: the tables.
        k0: the first number of the key.
        k1: the second number.
        k2: the third number.
        k3: the fourth number.
        n_bytes: the length of the piece in bytes.
        ids: token ids; the piece has `ids[first:last]`.
        first: the index of its first id.
        last: the end of its ids; less than `first` if the word is unknown.
    """
    short, long, used = words
    n_ids = last - first
    if n_bytes > LONG_BYTES or n_ids > MOST_IDS or k0 == 0:
        return
    for k in range(first, last):
        if ids[k] > ID_MASK:
            return
    if is_full(short.shape[0] // SHORT_SLOT, used[0]) or is_full(long.shape[0] // LONG_SLOT, used[1]):
        return
    is_short = n_bytes <= SHORT_BYTES and n_ids <= SHORT_IDS
    if n_bytes <= SHORT_BYTES:
        slot = find(short, SHORT_SLOT, k0, k1, k2, k3)
        short[slot], short[slot + np.uint64(1)], short[slot + np.uint64(2)] = k0, k1, LONG
        used[0] += 1
        if is_short:
            _put_ids(short, slot + np.uint64(2), ids, first, last)
    if not is_short:
        slot = find(long, LONG_SLOT, k0, k1, k2, k3)
        long[slot], long[slot + np.uint64(1)] = k0, k1
        long[slot + np.uint64(2)], long[slot + np.uint64(3)] = k2, k3
        used[1] += 1
        _put_ids(long, slot + np.uint64(4), ids, first, last)


@njit(nogil=True, cache=True, inner=True)
def _put_ids(table: Any, at: Any, ids: Any, first: int, last: int) -> None:
    table[at] = UNKNOWN if last < first else last - first
    for k in range(last - first):
        shift = np.uint64(4) + ID_BITS * np.uint64(k % 3)
        table[at + np.uint64(k // 3)] |= np.uint64(ids[first + k]) << shift


@njit(nogil=True, cache=True)
def remember_tokens(words: Words, keys: Any, lengths: Any, ids: Any) -> None:
    """Add pieces that are one token each.

    Args:
        words: the tables.
        keys: `(n, 4)` uint64, the pieces' bytes.
        lengths: `(n,)` int64, their number.
        ids: `(n,)` int32, the token ids.
    """
    for k in range(keys.shape[0]):
        key = keys[k]
        remember(words, key[0], key[1], key[2], key[3], lengths[k], ids, k, k + 1)
