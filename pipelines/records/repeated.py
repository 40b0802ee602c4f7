"""Columns that say the same in every row: the model's version, the source of a batch."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

__all__ = ["repeated"]


def repeated(text: str, n_rows: int) -> pa.DictionaryArray:
    """A column of `n_rows` times this text, as a dictionary of one; made once for batches of such a size."""
    return _column(text, max(n_rows - 1, 0).bit_length()).slice(0, n_rows)


@lru_cache(maxsize=64)
def _column(text: str, log_rows: int) -> pa.DictionaryArray:
    indices = np.zeros(1 << log_rows, np.int32)
    return pa.DictionaryArray.from_arrays(indices, pa.array([text], pa.string()))
