"""Tokenise a new piece by the tokenizer's model: byte-pair encoding (BPE) or Unigram."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.compiled import njit
from encoder.kernels.subwords.piece_table import find_piece
from encoder.kernels.subwords.unigram import best_path

__all__ = ["merge_pairs", "new_piece", "pair_table"]

_BLANK = 0x20
_BYTES, _UNIGRAM = 1, 3
_NO_RANK = np.int64(1) << np.int64(62)


@njit(nogil=True, cache=True, inner=True)
def _pair_slot(left: Any, right: Any, mask: int) -> Any:
    mixed = ((np.uint64(left) << np.uint64(32)) | np.uint64(right)) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(mask))


@njit(nogil=True, cache=True, allocates=True)
def pair_table(pairs: NDArray[np.int32], n_slots: int) -> NDArray[np.int32]:
    """Build a hash table of merges.

    Args:
        pairs: `(n_merges, 3)`: left id, right id, merged id; the first row has the lowest rank.
        n_slots: a power of two above the number of merges.

    Returns:
        `(n_slots, 4)` int32: left id, right id, rank, merged id; the left id of a free slot is -1.
    """
    table = np.full((n_slots, 4), -1, np.int32)
    for rank in range(pairs.shape[0]):
        slot = _pair_slot(pairs[rank, 0], pairs[rank, 1], n_slots - 1)
        while table[slot, 0] >= 0 and (table[slot, 0] != pairs[rank, 0] or table[slot, 1] != pairs[rank, 1]):
            slot = (slot + 1) & (n_slots - 1)
        table[slot, 0], table[slot, 1] = pairs[rank, 0], pairs[rank, 1]
        table[slot, 2], table[slot, 3] = rank, pairs[rank, 2]  # of equal pairs the last counts
    return table


@njit(nogil=True, cache=True, inner=True)
def _find_pair(left: int, right: int, table: Any) -> Any:
    """The slot of a pair in `pair_table`, or -1."""
    mask = table.shape[0] - 1
    slot = _pair_slot(left, right, mask)
    while table[slot, 0] >= 0:
        if table[slot, 0] == left and table[slot, 1] == right:
            return slot
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(nogil=True, cache=True, inner=True)
def merge_pairs(ids: Any, first: int, last: int, table: Any, slots: Any) -> Any:
    """Byte-pair encoding (Sennrich et al. 2016): merge the pair of lowest rank, leftmost first.

    Args:
        ids: int32; `ids[first:last]` are the ids of single characters, and receive the result.
        first: where they start.
        last: where they end.
        table: the merges, from `pair_table`.
        slots: int64 buffer, at least `(last - first,)`.

    Returns:
        The new end of the ids.
    """
    n = last - first
    for k in range(n - 1):
        slots[k] = _find_pair(ids[first + k], ids[first + k + 1], table)
    while n > 1:
        best, rank = -1, _NO_RANK
        for k in range(n - 1):
            if slots[k] >= 0 and table[slots[k], 2] < rank:
                best, rank = k, np.int64(table[slots[k], 2])
        if best < 0:
            break
        ids[first + best] = table[slots[best], 3]
        n -= 1
        for k in range(best + 1, n):
            ids[first + k] = ids[first + k + 1]
            slots[k - 1] = slots[k]
        if best > 0:
            slots[best - 1] = _find_pair(ids[first + best - 1], ids[first + best], table)
        if best < n - 1:
            slots[best] = _find_pair(ids[first + best], ids[first + best + 1], table)
    return first + n


@njit(nogil=True, cache=True, inner=True)
def new_piece(
    data: Any,
    i: int,
    n: int,
    lead: bool,
    t: Any,
    text: Any,
    places: Any,
    paths: Any,
    sums: Any,
    ids: Any,
    p: int,
) -> Any:
    """Tokenise a new plain piece.

    Args:
        data: UTF-8 bytes.
        i: the start of the piece.
        n: its length in bytes.
        lead: whether to assume a space before it.
        t: the tokenizer (`PieceTables`).
        text: uint8 buffer for the piece as the model sees it.
        places: int64 buffer for `merge_pairs`.
        paths: `(n, 3)` int32 buffer for `best_path`.
        sums: float64 buffer for `best_path`.
        ids: receives the ids.
        p: the index of the first id.

    Returns:
        The new end of `ids`, or a negative number if only the library can tokenise it.
    """
    m = 0
    if t.model == _BYTES:
        if lead or (t.spaced and data[i] != _BLANK):
            text[0] = _BLANK
            m = 1
        for k in range(i, i + n):
            text[m] = data[k]
            m += 1
        return _merged_bytes(text, m, t.byte_ids, t.pairs, t.slots, t.arena, places, ids, p)
    begin = i
    while t.blanks == 1 and data[begin] == _BLANK and data[begin + 1] == _BLANK:  # it never ends in blanks
        begin += 1
    for k in range(begin - lead, i + n):
        if k < begin or data[k] == _BLANK:
            text[m], text[m + 1], text[m + 2] = 0xE2, 0x96, 0x81  # Metaspace's symbol for a space
            m += 3
        else:
            text[m] = data[k]
            m += 1
    if t.model == _UNIGRAM:
        return best_path(text, m, t.edges, t.tokens, t.scores, t.unknown_score, t.margin, paths, sums, ids, p)
    return _merged_characters(text, m, t.byte_ids, t.pairs, t.slots, t.arena, places, ids, p)


@njit(nogil=True, cache=True, inner=True)
def _merged_bytes(
    text: Any, m: int, byte_ids: Any, pairs: Any, slots: Any, arena: Any, places: Any, ids: Any, p: int
) -> Any:
    at, n_ids = find_piece(text, 0, m, False, slots, arena)
    if n_ids:
        ids[p] = arena.view(np.int32)[at]
        return p + 1
    for k in range(m):
        ids[p + k] = byte_ids[text[k]]
    return merge_pairs(ids, p, p + m, pairs, places)


@njit(nogil=True, cache=True, inner=True)
def _merged_characters(
    text: Any, m: int, byte_ids: Any, pairs: Any, slots: Any, arena: Any, places: Any, ids: Any, p: int
) -> Any:
    table_ids = arena.view(np.int32)
    k, q = 0, p
    while k < m:
        size = 1
        while k + size < m and (text[k + size] & 0xC0) == 0x80:
            size += 1
        if size == 1:
            ids[q] = byte_ids[text[k]]
        else:
            at, n_ids = find_piece(text, k, size, False, slots, arena)
            ids[q] = table_ids[at] if n_ids else -1
        if ids[q] < 0:
            return -1
        q += 1
        k += size
    return merge_pairs(ids, p, q, pairs, places)
