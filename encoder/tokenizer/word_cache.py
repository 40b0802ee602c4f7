"""Caches of words and their token ids, one for each working thread."""

import numpy as np

from encoder.arrays import aligned
from encoder.kernels.wordpiece.words import LONG_SLOT, SHORT_SLOT, Words, is_full

__all__ = ["WordCaches", "new_words"]


class WordCaches:
    """The idle caches: a thread takes one, fills it and gives it back, so that no two threads share one."""

    def __init__(self) -> None:
        self._free: list[Words] = []

    def take(self, words: Words) -> Words:
        """An idle cache, or a new one that holds the vocabulary's `words`."""
        try:
            return self._free.pop()
        except IndexError:
            cache = new_words(len(words.short) // SHORT_SLOT, len(words.long) // LONG_SLOT)
            for mine, vocabulary in zip(cache, words, strict=True):
                mine[:] = vocabulary
            return cache

    def give_back(self, cache: Words) -> None:
        """Keep a cache for later, unless it is full: new caches follow the stream."""
        short, long = cache.used.tolist()
        if is_full(len(cache.short) // SHORT_SLOT, short) or is_full(len(cache.long) // LONG_SLOT, long):
            return
        self._free.append(cache)


def new_words(n_short: int, n_long: int) -> Words:
    """Empty tables with these powers of two of slots, none of which straddles two cache lines."""
    short, long = (aligned.zeros((n,), np.uint64) for n in (SHORT_SLOT * n_short, LONG_SLOT * n_long))
    return Words(short, long, np.zeros(2, np.int64))
