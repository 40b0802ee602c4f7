"""Mean pooling as a linear map A: `means` is A, `scatter` its transpose, `gram` the product of the two.

A has one row a text and one column a token; an entry is the number of times the token occurs in the text,
divided by the number of tokens of the text. On a CPU the matrix is never built: kernels read the token ids,
at four bytes a token. On a GPU it is a sparse matrix of torch.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from encoder.threads import default_threads, share_out
from encoder.tokens import TokenIds

__all__ = ["MeanPooling", "TorchPooling", "pooling_on"]

_MIN_COLUMNS = 64  # a thread's share: the processor fetches shorter rows less efficiently
_GRAM_TEXTS = (
    1 << 18
)  # texts summed in float32 before the sums are added: small terms would vanish in one large sum
_GPU_COLUMNS = 64  # with these, 10 M texts take 2.5 GB between the two products, and each matrix twice that
Floats = NDArray[np.float32]


def pooling_on(device: torch.device, tokens: TokenIds, n_tokens: int) -> "MeanPooling":
    """Return the pooling of some texts for a device: torch's on CUDA, our kernels elsewhere."""
    return TorchPooling(tokens, n_tokens, device) if device.type == "cuda" else MeanPooling(tokens, n_tokens)


class MeanPooling:
    """The map A of some texts, on the CPU. Results do not depend on the number of threads.

    Args:
        tokens: the texts' token ids; every text has at least one.
        n_tokens: the size of the vocabulary.
        threads: the number of threads; by default `MILLSTREAM_THREADS`, or one per core.
    """

    def __init__(self, tokens: TokenIds, n_tokens: int, *, threads: int | None = None) -> None:
        self.tokens = tokens
        self.n_tokens = n_tokens
        self._threads = threads or default_threads()

    def __len__(self) -> int:
        return len(self.tokens.offsets) - 1

    def part(self, first: int, last: int) -> "MeanPooling":
        """Return the map of the texts `first` to `last - 1`."""
        return MeanPooling(self._tokens_of(first, last), self.n_tokens, threads=self._threads)

    def _tokens_of(self, first: int, last: int) -> TokenIds:
        ids, offsets = self.tokens
        return TokenIds(ids[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])

    def means(self, table: Floats) -> Floats:
        """A · table: the texts' vectors, `(n_texts, dim)` float32, for a table of `(n_tokens, dim)`."""
        return self._by_columns(_means, table, len(self))

    def scatter(self, values: Floats) -> Floats:
        """Aᵀ · values: `(n_tokens, dim)` float32, for values of `(n_texts, dim)`."""
        return self._by_columns(_scatter, values, self.n_tokens)

    def gram(self, table: Floats) -> Floats:
        """AᵀA · table: `(n_tokens, dim)` float32, without the texts' vectors in between."""
        if len(self) <= _GRAM_TEXTS:
            return self._by_columns(_gram, table, self.n_tokens)
        firsts = range(0, len(self), _GRAM_TEXTS)
        parts = (self.part(first, min(first + _GRAM_TEXTS, len(self))) for first in firsts)
        return sum((part.gram(table) for part in parts), np.zeros_like(table))

    def _by_columns(self, kernel: Callable[..., None], source: Floats, n_rows: int) -> Floats:
        dim = source.shape[1]
        out = np.empty((n_rows, dim), np.float32)
        width = max(math.ceil(dim / self._threads), _MIN_COLUMNS)

        def work(first: int) -> None:
            columns = slice(first, first + width)
            some = np.ascontiguousarray(source[:, columns])
            found = np.zeros((n_rows, some.shape[1]), np.float32)
            kernel(*self.tokens, some, found)
            out[:, columns] = found

        share_out(work, range(0, dim, width), self._threads)
        return out


class TorchPooling(MeanPooling):
    """The map A as a sparse matrix on a GPU; equal to `MeanPooling` up to rounding.

    Tables and results stay in host memory: copying them takes a few milliseconds.

    Args:
        tokens: the texts' token ids; every text has at least one.
        n_tokens: the size of the vocabulary.
        device: the device that computes the products.
    """

    def __init__(self, tokens: TokenIds, n_tokens: int, device: torch.device) -> None:
        super().__init__(tokens, n_tokens)
        self._device = device

    def part(self, first: int, last: int) -> "TorchPooling":
        return TorchPooling(self._tokens_of(first, last), self.n_tokens, self._device)

    def means(self, table: Floats) -> Floats:
        return self._product(table, self._map)

    def scatter(self, values: Floats) -> Floats:
        return self._product(values, self._transposed)

    def gram(self, table: Floats) -> Floats:
        return self._product(table, self._map, self._transposed)

    @cached_property
    def _map(self) -> torch.Tensor:
        ids, offsets = self.tokens
        lengths = np.diff(offsets)
        indices = torch.from_numpy(np.stack([np.repeat(np.arange(len(self)), lengths), ids]))
        weights = torch.from_numpy(np.repeat((1 / lengths).astype(np.float32), lengths))
        # A token that occurs twice in a text has two entries, which `coalesce` adds up.
        return torch.sparse_coo_tensor(
            indices.to(self._device),
            weights.to(self._device),
            (len(self), self.n_tokens),
            check_invariants=True,
        ).coalesce()

    @cached_property
    def _transposed(self) -> torch.Tensor:
        return self._map.t().coalesce()

    def _product(self, source: Floats, *maps: torch.Tensor) -> Floats:
        found = []
        for first in range(0, source.shape[1], _GPU_COLUMNS):
            columns = torch.from_numpy(np.ascontiguousarray(source[:, first : first + _GPU_COLUMNS]))
            columns = columns.to(self._device)
            for matrix in maps:
                columns = matrix @ columns
            found.append(columns.cpu())
        product: Floats = torch.cat(found, dim=1).numpy()
        return product


# The kernels are not cached on disk: they compile in a second, and a fit takes minutes. `_add` and `_scale`
# are functions of their own so that the compiler knows the rows do not alias and vectorises: four times as
# fast.
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
def _scatter(ids: NDArray[np.int32], offsets: NDArray[np.int64], values: Floats, out: Floats) -> None:
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
