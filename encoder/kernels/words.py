"""Pieces of texts as keys of hash tables, with their token ids.

A key is the piece's bytes as numbers of 8 bytes, the first one lowest, padded with zeros. Pieces of up to 16
bytes and 6 token ids, nearly all, stand in slots of half a cache line: two numbers of key (0 in the first is
a free slot), and two with three ids of 20 bits each. Pieces of up to 32 bytes and 12 ids have a table of
their own, with slots of four numbers of key and four of ids. The lowest 4 bits of the first number of ids are
their count, or one of the codes below.
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
"""Bytes of a piece that fit into the keys of the two tables."""
SHORT_IDS, MOST_IDS = 6, 12
"""Token ids that fit into a slot of each."""
SHORT_SLOT, LONG_SLOT = 4, 8
"""Numbers in a slot of each."""

MISSING = 12
"""In place of the count, never in a table: the piece is not there."""
LONG = 13
"""In place of the count: the ids are in the other table."""
ADDED = 14
"""In place of the count: one id, and an added token may begin here."""
UNKNOWN = 15
"""In place of the count: the vocabulary cannot make this word."""

ID_BITS, ID_MASK = np.uint64(20), np.uint64((1 << 20) - 1)


class Words(NamedTuple):
    """Pieces and their token ids.

    Attributes:
        short: `(4 * n_slots,)` uint64; the number of slots is a power of two.
        long: `(8 * n_long_slots,)` uint64; likewise.
        used: `(2,)` int64, how many slots of each are taken.
    """

    short: NDArray[np.uint64]
    long: NDArray[np.uint64]
    used: NDArray[np.int64]


@njit(nogil=True, cache=True, inline="always", inner=True)
def _first_slot(k0: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """The number of the slot where to look for a key first, if there were 2**64 of them.

    The highest bits of products (multiplicative hashing, Knuth 6.4), folded into the lowest.
    """
    mixed = k0 * np.uint64(0x9E3779B97F4A7C15) + k1 * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed += k2 * np.uint64(0xA0761D6478BD642F) + k3 * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ (mixed >> np.uint64(32))


@njit(nogil=True, cache=True)
def find(table: Any, numbers: int, k0: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """Where the slot of a key begins, or the free one where it belongs, with so many numbers to a slot."""
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
    """Write the three ids of a number, whether they count or not: no branch to guess wrong."""
    ids[p] = (packed >> np.uint64(4)) & ID_MASK
    ids[p + np.uint64(1)] = (packed >> (np.uint64(4) + ID_BITS)) & ID_MASK
    ids[p + np.uint64(2)] = packed >> (np.uint64(4) + ID_BITS + ID_BITS)


@register_jitable  # called from Python, it is the plain function: sooner done than handed to a kernel
def is_full(slots: int, used: int) -> bool:
    """Whether three quarters of the slots are taken."""
    return used >= (slots >> 2) * 3


@njit(nogil=True, cache=True, inner=True)
def remember(
    words: Words, k0: Any, k1: Any, k2: Any, k3: Any, n_bytes: int, ids: Any, first: Any, last: Any
) -> None:
    """Put a piece that is not there into its table, if it fits and the table is not full.

    Args:
        words: the tables.
        k0: the first number of the key.
        k1: the second.
        k2: the third.
        k3: the fourth.
        n_bytes: how many bytes the piece has.
        ids: token ids, of which `ids[first:last]` are the piece's.
        first: its first id.
        last: behind its last id; less than `first` for an unknown word.
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
    """Remember pieces that are one token each.

    Args:
        words: the tables.
        keys: `(n, 4)` uint64, the pieces' bytes.
        lengths: `(n,)` int64, how many these are.
        ids: `(n,)` int32, the token ids.
    """
    for k in range(keys.shape[0]):
        key = keys[k]
        remember(words, key[0], key[1], key[2], key[3], lengths[k], ids, k, k + 1)
