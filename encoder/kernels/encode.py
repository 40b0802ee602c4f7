"""Texts to vectors: tokenise a block of texts, pool it, go on.

A block is as large as the nearer caches: its words and then its token vectors are met again there.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from encoder.kernels.pool import pool
from encoder.kernels.wordpiece import DONE, WordPieceTables, tokenise

__all__ = ["encode_texts", "pool_texts"]

_BLOCK = 4096  # texts


@njit(nogil=True, cache=True)
def encode_texts(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    tables: WordPieceTables,
    memo: NDArray[np.uint64],
    used: NDArray[np.int64],
    max_tokens: int,
    max_chars: int,
    table: NDArray[np.float32] | NDArray[np.int8],
    normalize: bool,
    out: NDArray[np.float32],
    status: NDArray[np.int32],
) -> int:
    """Encode the texts that the kernel can do, and say which it cannot.

    Args:
        data: UTF-8 bytes of all texts.
        offsets: `(n_texts + 1,)` int32 or int64: text r is bytes `offsets[r]` to `offsets[r + 1]`.
        valid: `(n_texts,)` which texts are not null, or empty when none is.
        tables: the tokenizer.
        memo: `(n_slots, 8)` uint64, this thread's copy of `tables.words`.
        used: `(1,)` how many slots of it are taken.
        max_tokens: tokens of a text that count.
        max_chars: characters of a text that count.
        table: `(n_tokens, dim)` token vectors.
        normalize: scale vectors to length 1.
        out: `(n_texts, dim)` float32, receives the vectors; zeros for null and empty texts.
        status: `(n_texts,)` int32, receives DONE or what `tokenise` says for a text that is not done.

    Returns:
        How many texts are not done; their rows of `out` are zeros.
    """
    n_texts = offsets.shape[0] - 1
    ends = np.empty(_BLOCK, np.int64)
    word, keys = np.empty(512, np.uint8), np.empty(4, np.uint64)
    room = np.empty(table.shape[1], np.int16)
    pending = 0
    for first in range(0, n_texts, _BLOCK):
        last = min(first + _BLOCK, n_texts)
        ids = np.empty(offsets[last] - offsets[first] + 16, np.int32)
        p = 0
        for r in range(first, last):
            status[r] = DONE
            if valid.shape[0] == 0 or valid[r]:
                p, status[r] = tokenise(
                    data,
                    offsets[r],
                    offsets[r + 1],
                    tables,
                    memo,
                    used,
                    max_tokens,
                    max_chars,
                    word,
                    keys,
                    ids,
                    p,
                )
                pending += status[r] != DONE
            ends[r - first] = p
        p = 0
        for r in range(first, last):
            pool(ids, p, ends[r - first], table, normalize, room, out[r])
            p = ends[r - first]
    return pending


@njit(nogil=True, cache=True)
def pool_texts(
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
    rows: NDArray[np.int64],
    table: NDArray[np.float32] | NDArray[np.int8],
    normalize: bool,
    out: NDArray[np.float32],
) -> None:
    """Pool texts whose ids are known already.

    Args:
        ids: token ids of all texts, one behind the other.
        ends: `(n_texts,)` where each text's ids end.
        rows: `(n_texts,)` the row of `out` for each text.
        table: `(n_tokens, dim)` token vectors.
        normalize: scale vectors to length 1.
        out: `(n, dim)` float32; the named rows are overwritten.
    """
    first = 0
    room = np.empty(table.shape[1], np.int16)
    for k in range(ends.shape[0]):
        pool(ids, first, ends[k], table, normalize, room, out[rows[k]])
        first = ends[k]
