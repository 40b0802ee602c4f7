"""Check that arrays from a file cannot lead the WordPiece kernel out of bounds.

A checksum detects accidental changes; these checks cover forged files as well. So this module knows the
layouts of `encoder.kernels.wordpiece.trie` and `encoder.kernels.wordpiece.words`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.wordpiece.words import ADDED, LONG_SLOT, SHORT_SLOT, Words

__all__ = ["vocabulary_fits"]

_BYTES = 256
_ROOM = 512  # bytes for each token in an array, and for some more; real arrays need a third


def vocabulary_fits(arrays: Mapping[str, NDArray[Any]], n_tokens: int) -> bool:
    """Whether the arrays have the layout of `compile_vocabulary`, and ids below `n_tokens`; or are none."""
    if not arrays:
        return True
    if any(array.nbytes > _ROOM * (n_tokens + 4096) for array in arrays.values()):
        return False
    if set(arrays) != {"cells", *Words._fields} or any(arrays[name].ndim != 1 for name in Words._fields):
        return False
    words = Words(*(arrays[name] for name in Words._fields))
    return _cells_fit(arrays["cells"], n_tokens) and _words_fit(words, n_tokens)


def _cells_fit(cells: NDArray[Any], n_tokens: int) -> bool:
    """Whether every base has 256 cells after it, so that no step of `cut_word` leaves the array."""
    if cells.dtype != np.int32 or cells.ndim != 2 or cells.shape[1] != 3 or len(cells) <= _BYTES:
        return False
    base, _, token = cells.T
    return bool(
        base.min() >= 0 and base.max() <= len(cells) - _BYTES and token.min() >= -1 and token.max() < n_tokens
    )


def _words_fit(words: Words, n_tokens: int) -> bool:
    """Whether the tables have free slots, and each piece one id, that of a token."""
    if words.used.dtype != np.int64 or len(words.used) != 2:
        return False
    tables = (words.short, SHORT_SLOT, 2, (1, ADDED)), (words.long, LONG_SLOT, 4, (1,))
    return all(
        _slots_fit(table, size, first_id, codes, int(used), n_tokens)
        for (table, size, first_id, codes), used in zip(tables, words.used, strict=True)
    )


def _slots_fit(
    table: NDArray[Any], size: int, first_id: int, codes: tuple[int, ...], used: int, n_tokens: int
) -> bool:
    """Whether the number of slots is a power of two and a quarter of them are free."""
    n_slots = len(table) // size
    if table.dtype != np.uint64 or n_slots < 4 or n_slots & (n_slots - 1) or len(table) % size:
        return False
    slots = table.reshape(n_slots, size)
    taken = slots[slots[:, 0] != 0]
    ids, more = taken[:, first_id], taken[:, first_id + 1 :]
    return bool(
        4 * used <= 3 * n_slots
        and used == len(taken)
        and np.isin(ids & np.uint64(15), codes).all()
        and (ids >> np.uint64(4) < n_tokens).all()
        and not more.any()
    )
