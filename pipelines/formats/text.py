"""Lines of text: one record a line, in the column `text`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.formats.row_boundaries import Block
from pipelines.records.fields import conform
from pipelines.records.utf8 import not_utf8

__all__ = ["TEXT", "TextDecoder"]

TEXT = "text"
"""The name of the one column."""


class TextDecoder:
    """Decodes blocks of lines into the column `text`."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema

    def __call__(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Decode a block.

        Returns:
            The batch of good rows, their `(n_good,)` int64 positions in the block, and for each bad position
            what is wrong.
        """
        lines = _lines(block)
        bad: dict[int, str] = {}
        good = np.arange(len(block))
        try:
            texts = lines.cast(pa.string())
        except pa.ArrowInvalid:
            reasons = {i: not_utf8(line) for i, line in enumerate(lines.to_pylist())}
            bad = {i: reason for i, reason in reasons.items() if reason is not None}
            good = np.delete(good, list(bad))
            texts = lines.take(pa.array(good)).cast(pa.string())
        return conform({TEXT: texts}, self._schema, len(texts), self._path), good, bad


def _lines(block: Block) -> pa.BinaryArray:
    """`(n_rows,)` binary: the lines without their line breaks."""
    offsets = np.concatenate([[block.start], block.ends]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block.data)]
    lines = pa.BinaryArray.from_buffers(pa.binary(), len(block), buffers)
    stops = block.stops()
    without_break = pc.binary_slice(lines, 0, -1)
    returns = stops != block.ends - 1
    if not returns.any():
        return without_break
    return pc.if_else(pa.array(returns), pc.binary_slice(lines, 0, -2), without_break)
