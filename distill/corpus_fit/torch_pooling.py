"""Mean pooling on a GPU: the same linear map by torch's sparse matrices."""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from distill.corpus_fit.pooling import MeanPooling
from encoder.tokens import TokenIds

__all__ = ["TorchPooling", "pooling_on"]

# At a time. 10 M texts take 2.5 GB between the two products of `gram`, and each matrix twice that.
_COLUMNS = 64
Floats = NDArray[np.float32]


def pooling_on(device: torch.device, tokens: TokenIds, n_tokens: int) -> MeanPooling:
    """The map of some texts where it is applied fastest: on a GPU of CUDA, else by our own kernels."""
    return TorchPooling(tokens, n_tokens, device) if device.type == "cuda" else MeanPooling(tokens, n_tokens)


class TorchPooling(MeanPooling):
    """The map A of some texts as a sparse matrix; equal to `MeanPooling`'s up to rounding.

    Tables and results are in the memory of the host: moving them takes a few ms.

    Args:
        tokens: the texts' token ids; every text has at least one.
        n_tokens: the size of the vocabulary.
        device: where products are computed.
    """

    def __init__(self, tokens: TokenIds, n_tokens: int, device: torch.device) -> None:
        super().__init__(tokens, n_tokens)
        self._device = device

    def part(self, first: int, last: int) -> "TorchPooling":
        """The map of some of the texts."""
        return TorchPooling(super().part(first, last).tokens, self.n_tokens, self._device)

    def means(self, table: Floats) -> Floats:
        """A · table: the texts' vectors, `(n_texts, dim)` float32, for a table of `(n_tokens, dim)`."""
        return self._product(table, self._map)

    def spread(self, values: Floats) -> Floats:
        """Aᵀ · values: `(n_tokens, dim)` float32, for values of `(n_texts, dim)`."""
        return self._product(values, self._transposed)

    def gram(self, table: Floats) -> Floats:
        """AᵀA · table, `(n_tokens, dim)` float32."""
        return self._product(table, self._map, self._transposed)

    @cached_property
    def _map(self) -> torch.Tensor:
        ids, offsets = self.tokens
        lengths = np.diff(offsets)
        places = torch.from_numpy(np.stack([np.repeat(np.arange(len(self)), lengths), ids]))
        weights = torch.from_numpy(np.repeat((1 / lengths).astype(np.float32), lengths))
        # A token that comes twice in a text has two entries, which are added up.
        return torch.sparse_coo_tensor(
            places.to(self._device),
            weights.to(self._device),
            (len(self), self.n_tokens),
            check_invariants=True,
        ).coalesce()

    @cached_property
    def _transposed(self) -> torch.Tensor:
        return self._map.t().coalesce()

    def _product(self, source: Floats, *maps: torch.Tensor) -> Floats:
        found = []
        for first in range(0, source.shape[1], _COLUMNS):
            columns = torch.from_numpy(np.ascontiguousarray(source[:, first : first + _COLUMNS]))
            columns = columns.to(self._device)
            for matrix in maps:
                columns = matrix @ columns
            found.append(columns.cpu())
        product: Floats = torch.cat(found, dim=1).numpy()
        return product
