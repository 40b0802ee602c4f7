"""Words that were met before, with their token ids: one hash table for each thread at work."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["WordMemo", "WordMemos", "new_word_table"]

_NUMBERS = 8  # of a slot; see `encoder.kernels.wordpiece`
_CACHE_LINE = 64  # bytes
_FULL = 0.75


@dataclass
class WordMemo:
    """A hash table that starts as the vocabulary's and is filled by the kernel.

    Attributes:
        words: `(n_slots, 8)` uint64.
        used: `(1,)` int64, how many slots are taken.
    """

    words: NDArray[np.uint64]
    used: NDArray[np.int64]

    @classmethod
    def copy_of(cls, words: NDArray[np.uint64]) -> Self:
        """Begin with these words."""
        table = new_word_table(len(words))
        table[:] = words
        return cls(table, np.array([np.count_nonzero(words[:, 0])]))


class WordMemos:
    """Memos that are free; a thread takes one, fills it and gives it back, so that no two write to one."""

    def __init__(self) -> None:
        self._free: list[WordMemo] = []

    def take(self, words: NDArray[np.uint64]) -> WordMemo:
        """A memo for one thread, made of the vocabulary's `words` if none is free."""
        try:
            return self._free.pop()
        except IndexError:
            return WordMemo.copy_of(words)

    def give_back(self, memo: WordMemo) -> None:
        """Keep a memo for the next one; a full one is dropped, so that memos follow the stream."""
        if memo.used[0] < _FULL * len(memo.words):
            self._free.append(memo)


def new_word_table(n_slots: int) -> NDArray[np.uint64]:
    """An empty hash table of words, `(n_slots, 8)` uint64, each slot in one cache line."""
    memory = np.zeros(_NUMBERS * (n_slots + 1), np.uint64)
    skip = -memory.ctypes.data % _CACHE_LINE // memory.itemsize
    return memory[skip : skip + _NUMBERS * n_slots].reshape(n_slots, _NUMBERS)
