"""Token ids of pieces that were not met before, by the tokenizer's own model."""

from typing import Any

import numpy as np

from encoder.kernels.compiled import njit
from encoder.kernels.piece_table import find_piece
from encoder.kernels.subwords import best_path, merge_pairs

__all__ = ["new_piece"]

_BLANK = 0x20
_BYTES, _UNIGRAM = 1, 3


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
    """Token ids of a plain piece that was not met before.

    Args:
        data: UTF-8 bytes.
        i: where the piece begins.
        n: how many bytes it has.
        lead: whether a space is to be thought before it.
        t: the tokenizer (`PieceTables`).
        text: uint8, room for the piece as the model sees it.
        places: int64, room for `merge_pairs`.
        paths: `(n, 3)` int32, room for `best_path`.
        sums: float64, likewise.
        ids: receives the ids.
        p: where in `ids` to begin.

    Returns:
        The new end of `ids`, or less than 0 as in `best_path`.
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
    while (
        t.blanks == 1 and data[begin] == _BLANK and data[begin + 1] == _BLANK
    ):  # a plain piece does not end so
        begin += 1
    for k in range(begin - lead, i + n):
        if k < begin or data[k] == _BLANK:
            text[m], text[m + 1], text[m + 2] = 0xE2, 0x96, 0x81  # Metaspace's sign for a space
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
