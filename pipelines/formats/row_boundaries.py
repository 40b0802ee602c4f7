"""Where rows begin and end in the bytes of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import InputError

__all__ = ["LINE_FEED", "MAX_ROW_BYTES", "RETURN", "Block", "Lines", "Rows", "blocks"]

MAX_ROW_BYTES = 128 << 20
"""A longer row is refused: it is a file without line breaks, or a quote that is never closed."""

LINE_FEED, RETURN = b"\n\r"
"""The bytes that end lines; old files have carriage returns alone."""


@dataclass(frozen=True)
class Block:
    """Whole rows in memory: row `i` is `data[starts[i]:ends[i]]`, with its line break.

    Attributes:
        data: bytes; those before `start` and after the last end belong to other blocks.
        start: where the first row begins.
        ends: `(n_rows,)` int64, where each row ends, after its line break.
        open_quote: whether the last row is CSV with a quote that is not closed.
    """

    data: bytes
    start: int
    ends: NDArray[np.int64]
    open_quote: bool = False

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def starts(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64, where each row begins."""
        return np.concatenate([np.array([self.start], np.int64), self.ends[:-1]])

    @property
    def buffer(self) -> pa.Buffer:
        """The bytes of the rows."""
        return pa.py_buffer(self.data).slice(self.start, self.n_bytes)

    @property
    def n_bytes(self) -> int:
        """The size of the rows."""
        return int(self.ends[-1]) - self.start if len(self.ends) else 0

    def stops(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64, where each row's content ends, before its line break."""
        values = np.frombuffer(self.data, np.uint8)
        stops: NDArray[np.int64] = self.ends - 1
        before = values[np.maximum(stops - 1, 0)]
        stops -= (before == RETURN) & (stops > self.starts)
        return stops

    def cut(self, n_rows: int) -> "tuple[Block, Block]":
        """The first `n_rows` rows and the others."""
        if n_rows >= len(self):
            return self, Block(self.data, int(self.ends[-1]), self.ends[:0])
        head = Block(self.data, self.start, self.ends[:n_rows])
        return head, Block(self.data, int(self.ends[n_rows - 1]), self.ends[n_rows:], self.open_quote)


class Rows(Protocol):
    """Finds the ends of rows in a file that arrives in pieces."""

    open_quote: bool
    newline: int

    def ends(self, data: bytes) -> NDArray[np.int64]:
        """The positions after each row's line break in the next piece of the file."""


class Lines:
    """Rows are lines, which end at a line feed, or at a carriage return in a file without line feeds."""

    open_quote = False

    def __init__(self, newline: int = LINE_FEED) -> None:
        self.newline = newline

    def ends(self, data: bytes) -> NDArray[np.int64]:
        """The positions after each line break."""
        return np.flatnonzero(np.frombuffer(data, np.uint8) == self.newline) + 1


def blocks(pieces: Iterator[bytes], rows: Rows, path: str) -> Iterator[Block]:
    """Split a file's bytes into blocks of whole rows; a last row without a line break gets one.

    In blocks, every row ends with a line feed, whatever ends it in the file.

    Raises:
        InputError: a row is longer than `MAX_ROW_BYTES`.
    """
    carry: list[bytes] = []
    carried = 0
    for data in pieces:
        ends = rows.ends(data)
        if rows.newline != LINE_FEED:
            data = _with_line_feeds(data, ends)  # noqa: PLW2901 - the same piece
        if not ends.size:
            carry.append(data)
            carried += len(data)
            if carried > MAX_ROW_BYTES:
                hint = "a quote that is never closed?" if rows.open_quote else "no line breaks?"
                raise InputError(
                    f"{path} has a row of more than {MAX_ROW_BYTES >> 20} MiB ({hint}): split the row"
                )
            continue
        last = int(ends[-1])
        rest = data[last:]
        yield Block(b"".join([*carry, data]) if carried else data, 0, ends + carried)
        carry, carried = ([rest], len(rest)) if rest else ([], 0)
    if carried:
        data = b"".join([*carry, b"\n"])
        yield Block(data, 0, np.array([len(data)], np.int64), rows.open_quote)


def _with_line_feeds(data: bytes, ends: NDArray[np.int64]) -> bytes:
    """The data with line feeds at the ends of rows, and only there."""
    values = np.frombuffer(data, np.uint8).copy()
    values[ends - 1] = LINE_FEED
    return values.tobytes()
