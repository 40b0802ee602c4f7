"""The results of `Encoder.tokenise` and `Encoder.encode_tokens`."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["TokenIds", "TokenVectors"]


class TokenIds(NamedTuple):
    """The token ids of texts, concatenated.

    Attributes:
        ids: `(n_tokens,)` int32.
        offsets: `(n_texts + 1,)` int64: text r has `ids[offsets[r]:offsets[r + 1]]`.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def join(cls, parts: list[tuple[NDArray[np.int32], NDArray[np.int64]]]) -> Self:
        """Join blocks of texts, each given as its ids and the `(n_texts,)` end of each text in them."""
        ids = np.concatenate([np.zeros(0, np.int32), *(part for part, _ in parts)])
        lengths = [np.diff(ends, prepend=0) for _, ends in parts]
        return cls(ids, np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths])))


class TokenVectors(NamedTuple):
    """The token ids and token vectors of texts, concatenated.

    Attributes:
        ids: `(n_tokens,)` int32.
        offsets: `(n_texts + 1,)` int64: text r has the rows `offsets[r]` to `offsets[r + 1]`.
        vectors: `(n_tokens, dim)` float32, not scaled to length 1.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    vectors: NDArray[np.float32]
