"""Tables that find the template of a text."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.arrays.texts import TextBuffers
from encoder.kernels.templates import MOST_WORDS, VARIABLE, fill_slots, match

__all__ = ["TemplateTables"]


class TemplateTables(NamedTuple):
    """What `encoder.kernels.templates.match` reads, in its order, and the key of each row."""

    slot_keys: NDArray[np.uint64]
    slots: NDArray[np.int32]
    patterns: NDArray[np.uint64]
    pattern_begins: NDArray[np.int64]
    words: NDArray[np.uint64]
    ends: NDArray[np.int64]
    begins: NDArray[np.int64]
    keys: NDArray[np.uint64]

    @classmethod
    def of(cls, words: NDArray[np.uint64], ends: NDArray[np.int64]) -> "TemplateTables":
        """Make the tables.

        Args:
            words: the hashes of all templates' words.
            ends: `(n_rows + 1,)` where each begins, and where the last one ends; 1 to `MOST_WORDS` words
                each, ascending by their number.
        """
        lengths = np.diff(ends)
        size = 1 << (2 * len(lengths) + 1).bit_length()
        slot_keys, slots = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
        keys = np.empty(len(lengths), np.uint64)
        fill_slots(words, ends, slot_keys, slots, keys)
        row = np.repeat(np.arange(len(lengths)), lengths)
        bits = np.uint64(1) << (np.arange(len(words)) - ends[:-1][row]).astype(np.uint64)
        variables = np.zeros(len(lengths), np.uint64)
        np.bitwise_or.at(variables, row, np.where(words == VARIABLE, bits, np.uint64(0)))
        fixed = np.bincount(row, words != VARIABLE, len(lengths)).astype(np.int64)
        used = (fixed > 0) & (variables > 0)
        # The templates of a text's length with most fixed words are tried first.
        kinds = np.unique(np.stack([lengths[used], -fixed[used], variables[used].view(np.int64)], 1), axis=0)
        counts = np.arange(MOST_WORDS + 2)
        patterns = np.ascontiguousarray(kinds[:, 2]).view(np.uint64)
        return cls(
            slot_keys,
            slots,
            patterns,
            np.searchsorted(kinds[:, 0], counts).astype(np.int64),
            words,
            ends,
            np.searchsorted(lengths, counts).astype(np.int64),
            keys,
        )

    def match(self, texts: TextBuffers) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The row of each text, or -1, and the share of its words that match; -1 and 0 for null."""
        n_texts = len(texts.offsets) - 1
        rows, similarity = np.empty(n_texts, np.int32), np.empty(n_texts, np.float32)
        scratch = (
            np.empty(MOST_WORDS, np.uint64),
            np.empty(MOST_WORDS, np.int64),
            np.empty(MOST_WORDS, np.int64),
        )
        match(texts.data, texts.offsets, *self[:-1], scratch, rows, similarity)
        if len(texts.valid):
            rows[~texts.valid], similarity[~texts.valid] = -1, 0
        return rows, similarity
