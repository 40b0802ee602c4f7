"""What the kernels of BPE and Unigram know of a tokenizer, and what they say of a text."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DONE", "FALLBACK", "LONGEST", "MISSES", "NEEDS_PAGE", "UNSURE", "PieceTables"]

# The status of a text.
DONE, NEEDS_PAGE, FALLBACK, MISSES = 0, 1, 2, 3

LONGEST = 512
"""The most bytes of a piece; the library does texts with longer ones."""

UNSURE = -1
"""Instead of the ids of a piece: the library must do texts with it."""


class PieceTables(NamedTuple):
    """A tokenizer as the kernel needs it.

    `regex`, `digits`, `blanks`, `prefix`, `spaced`, `strict`, `model`, `parted` and `margin` are those of
    `encoder.tokenizer.recipes.Recipe`.

    Attributes:
        unknown: the id of the unknown token, which counts but is removed, or -1.
        ascii: `(256,)` uint8, the classes of ASCII characters, then DOUBT.
        page_of: `(4352,)` int32, the row of `pages` for each 256 code points, or -1 if not yet known.
        pages: `(n_pages, 256)` uint8, the classes of `encoder.kernels.subwords.boundaries`.
        added: `(n_added, n)` uint8, added tokens, padded with 255, which no text contains.
        added_ids: `(n_added,)` int32, their ids.
        added_first: `(256,)` bool, the first bytes of added tokens.
        byte_ids: `(256,)` int32, the ids of single bytes, or of ASCII characters for model 2; -1 for none.
        pairs: BPE's merges, from `pair_table`.
        slots: a table of pieces: for model 1 the words that BPE takes whole, for model 2 its characters.
        arena: the table's records.
        edges: Unigram's vocabulary, from `token_trie`.
        tokens: Unigram's tokens, from `token_trie`.
        scores: `(n_tokens,)` float64, Unigram's scores.
        unknown_score: the score of a character that Unigram's vocabulary lacks.
    """

    regex: int
    digits: int
    blanks: int
    prefix: int
    spaced: bool
    strict: bool
    model: int
    unknown: int
    ascii: NDArray[np.uint8]
    page_of: NDArray[np.int32]
    pages: NDArray[np.uint8]
    added: NDArray[np.uint8]
    added_ids: NDArray[np.int32]
    parted: bool
    added_first: NDArray[np.bool_]
    byte_ids: NDArray[np.int32]
    pairs: NDArray[np.int32]
    slots: NDArray[np.uint64]
    arena: NDArray[np.uint64]
    edges: NDArray[np.int64]
    tokens: NDArray[np.int32]
    scores: NDArray[np.float64]
    unknown_score: float
    margin: float
