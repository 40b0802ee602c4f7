"""Words that were met before, with their token ids: one set of hash tables for each thread at work."""

import numpy as np

from encoder import aligned
from encoder.kernels.words import LONG_SLOT, SHORT_SLOT, Words, is_full

__all__ = ["WordMemos", "new_words"]


class WordMemos:
    """Memos that are free; a thread takes one, fills it and gives it back, so that no two write to one."""

    def __init__(self) -> None:
        self._free: list[Words] = []

    def take(self, words: Words) -> Words:
        """A memo for one thread, made of the vocabulary's `words` if none is free."""
        try:
            return self._free.pop()
        except IndexError:
            memo = new_words(len(words.short) // SHORT_SLOT, len(words.long) // LONG_SLOT)
            for mine, vocabulary in zip(memo, words, strict=True):
                mine[:] = vocabulary
            return memo

    def give_back(self, memo: Words) -> None:
        """Keep a memo for the next one; a full one is dropped, so that memos follow the stream."""
        short, long = memo.used.tolist()
        if is_full(len(memo.short) // SHORT_SLOT, short) or is_full(len(memo.long) // LONG_SLOT, long):
            return
        self._free.append(memo)


def new_words(n_short: int, n_long: int) -> Words:
    """Empty tables with so many slots, powers of two; no slot lies in two cache lines."""
    short, long = (aligned.zeros((n,), np.uint64) for n in (SHORT_SLOT * n_short, LONG_SLOT * n_long))
    return Words(short, long, np.zeros(2, np.int64))
