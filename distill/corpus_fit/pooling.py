"""Mean pooling as a linear map: texts by vocabulary, its transpose, and the product of the two.

The matrix A has the entry (number of times that token v is in text t) / (number of tokens of t). It is never
built: token ids and offsets say it all, so it takes four bytes a token.
"""

import math
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from encoder.threads import default_threads, share_out
from encoder.tokens import TokenIds

__all__ = ["MeanPooling"]

_FEWEST_COLUMNS = 64  # of a thread: of shorter rows the processor reads fewer bytes in one go
_SUMMED_TOGETHER = 1 << 18  # texts
Floats = NDArray[np.float32]


class MeanPooling:
    """The map A of some texts. The results do not depend on the number of threads.

    Args:
        tokens: the texts' token ids; every text has at least one.
        n_tokens: the size of the vocabulary.
        threads: how many to use; by default `MILLSTREAM_THREADS`, or all cores.
    """

    def __init__(self, tokens: TokenIds, n_tokens: int, *, threads: int | None = None) -> None:
        self.tokens = tokens
        self.n_tokens = n_tokens
        self._threads = threads or default_threads()

    def __len__(self) -> int:
        return len(self.tokens.offsets) - 1

    def part(self, first: int, last: int) -> "MeanPooling":
        """The map of some of the texts."""
        ids, offsets = self.tokens
        some = TokenIds(ids[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])
        return MeanPooling(some, self.n_tokens, threads=self._threads)

    def means(self, table: Floats) -> Floats:
        """A · table: the texts' vectors, `(n_texts, dim)` float32, for a table of `(n_tokens, dim)`."""
        return self._by_columns(_means, table, len(self))

    def spread(self, values: Floats) -> Floats:
        """Aᵀ · values: `(n_tokens, dim)` float32, for values of `(n_texts, dim)`."""
        return self._by_columns(_spread, values, self.n_tokens)

    def gram(self, table: Floats) -> Floats:
        """AᵀA · table, `(n_tokens, dim)` float32, without the texts' vectors in between.

        It is summed over some hundred thousand texts at a time: float32 loses what is far smaller than a sum.
        """
        if len(self) <= _SUMMED_TOGETHER:
            return self._by_columns(_gram, table, self.n_tokens)
        firsts = range(0, len(self), _SUMMED_TOGETHER)
        parts = (self.part(first, min(first + _SUMMED_TOGETHER, len(self))) for first in firsts)
        return sum((part.gram(table) for part in parts), np.zeros_like(table))

    def _by_columns(self, kernel: Callable[..., None], source: Floats, n_rows: int) -> Floats:
        dim = source.shape[1]
        out = np.empty((n_rows, dim), np.float32)
        width = max(math.ceil(dim / self._threads), _FEWEST_COLUMNS)

        def work(first: int) -> None:
            columns = slice(first, first + width)
            some = np.ascontiguousarray(source[:, columns])
            found = np.zeros((n_rows, some.shape[1]), np.float32)
            kernel(*self.tokens, some, found)
            out[:, columns] = found

        share_out(work, range(0, dim, width), self._threads)
        return out


# No cache of the compiled code: a fit takes minutes, and these are compiled in a second. Rows are added by a
# function of their own: the compiler then knows that they do not move, and takes several numbers at once,
# which is four times as fast.
@numba.njit(nogil=True)
def _add(row: Floats, values: Floats) -> None:
    for column in range(len(row)):
        row[column] += values[column]


@numba.njit(nogil=True)
def _scale(row: Floats, factor: np.float32) -> None:
    for column in range(len(row)):
        row[column] *= factor


@numba.njit(nogil=True)
def _means(ids: NDArray[np.int32], offsets: NDArray[np.int64], table: Floats, out: Floats) -> None:
    for text in range(len(offsets) - 1):
        tokens = ids[offsets[text] : offsets[text + 1]]
        for token in tokens:
            _add(out[text], table[token])
        _scale(out[text], np.float32(1) / np.float32(len(tokens)))


@numba.njit(nogil=True)
def _spread(ids: NDArray[np.int32], offsets: NDArray[np.int64], values: Floats, out: Floats) -> None:
    share = np.empty(values.shape[1], np.float32)
    for text in range(len(offsets) - 1):
        tokens = ids[offsets[text] : offsets[text + 1]]
        share[:] = values[text]
        _scale(share, np.float32(1) / np.float32(len(tokens)))
        for token in tokens:
            _add(out[token], share)


@numba.njit(nogil=True)
def _gram(ids: NDArray[np.int32], offsets: NDArray[np.int64], table: Floats, out: Floats) -> None:
    mean = np.empty(table.shape[1], np.float32)
    for text in range(len(offsets) - 1):
        tokens = ids[offsets[text] : offsets[text + 1]]
        mean[:] = np.float32(0)
        for token in tokens:
            _add(mean, table[token])
        weight = np.float32(1) / np.float32(len(tokens))
        _scale(mean, weight * weight)
        for token in tokens:
            _add(out[token], mean)
