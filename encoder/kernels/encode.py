"""Texts to vectors: tokenise all, then pool all."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from encoder.kernels.pool import pool
from encoder.kernels.wordpiece import WordPieceTables, tokenise
from encoder.kernels.words import Words

__all__ = ["encode_texts", "pool_texts"]


@njit(nogil=True, cache=True)
def encode_texts(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    tables: WordPieceTables,
    memo: Words,
    max_tokens: int,
    max_chars: int,
    table: NDArray[np.float32] | NDArray[np.int8],
    normalize: bool,
    out: NDArray[np.float32],
    status: NDArray[np.int32],
) -> int:
    """Encode the texts that the kernel can do, and say which it cannot.

    Args:
        data: UTF-8 bytes of all texts, and `pieces.ROOM` more bytes behind them.
        offsets: `(n_texts + 1,)` text r is bytes `offsets[r]` to `offsets[r + 1]`.
        valid: `(n_texts,)` which texts are not null, or empty when none is.
        tables: the tokenizer.
        memo: this thread's copy of `tables.words`.
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
    ids, ends = np.empty(offsets[n_texts] - offsets[0] + 16, np.int32), np.empty(n_texts, np.int64)
    pending = tokenise(data, offsets, valid, tables, memo, max_tokens, max_chars, ids, ends, status)
    sums, p = np.empty(table.shape[1], np.int16), 0
    for r in range(n_texts):
        pool(ids, p, ends[r], table, normalize, sums, out[r])
        p = ends[r]
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
