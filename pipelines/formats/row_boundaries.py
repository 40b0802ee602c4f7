"""Where rows begin and end in the bytes of a file: lines, and CSV records with line breaks in quotes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import InputError

__all__ = ["MAX_ROW_BYTES", "Block", "CsvRecords", "Lines", "Rows", "blocks"]

MAX_ROW_BYTES = 128 << 20
"""A longer row is refused: it is a file without line breaks, or a quote that is never closed."""

_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


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
        stops -= (before == _RETURN) & (stops > self.starts)
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

    def ends(self, data: bytes) -> NDArray[np.int64]:
        """The positions after each row's line break in the next piece of the file."""


class Lines:
    """Rows are lines, which end at a line feed."""

    open_quote = False

    def ends(self, data: bytes) -> NDArray[np.int64]:
        """The positions after each line feed."""
        return np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1


class CsvRecords:
    """Rows are CSV records, which end at a line feed outside quotes.

    A quote opens a field only as its first character, as in RFC 4180; elsewhere it is a plain character.
    """

    def __init__(self, delimiter: str) -> None:
        self.open_quote = False
        self._before_field = np.frombuffer(f'{delimiter}\n"'.encode(), np.uint8)
        self._last = _NEWLINE  # the byte before the next piece; 0 where a quote would be a plain character

    def ends(self, data: bytes) -> NDArray[np.int64]:
        """The positions after each line feed outside quotes."""
        values = np.frombuffer(data, np.uint8)
        newlines = np.flatnonzero(values == _NEWLINE)
        quotes = np.flatnonzero(values == _QUOTE)
        opening = quotes[int(self.open_quote) :: 2]
        before = values[opening - 1]
        if opening.size and opening[0] == 0:
            before[0] = self._last
        if np.isin(before, self._before_field).all():
            return self._by_parity(values, newlines, quotes)
        return self._one_by_one(values, newlines, quotes)

    def _by_parity(
        self, values: NDArray[np.uint8], newlines: NDArray[np.int64], quotes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Every quote opens or closes a field, so a newline after an even number of them is outside."""
        inside: NDArray[np.int64] = (np.searchsorted(quotes, newlines) + self.open_quote) % 2
        self.open_quote = bool((len(quotes) + self.open_quote) % 2)
        self._last = int(values[-1]) if values.size else self._last
        outside: NDArray[np.int64] = newlines[inside == 0]
        return outside + 1

    def _one_by_one(
        self, values: NDArray[np.uint8], newlines: NDArray[np.int64], quotes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Follow the quotes one by one, since some of them are plain characters."""
        ends = []
        closed = -1 if self._last == _QUOTE else -2  # where the last field's quote was closed
        plain = -2  # where the last plain quote was
        for position in np.union1d(newlines, quotes).tolist():
            before = int(values[position - 1]) if position else self._last
            if values[position] == _NEWLINE:
                if not self.open_quote:
                    ends.append(position + 1)
            elif self.open_quote:
                self.open_quote, closed = False, position
            elif position == closed + 1 or (before != _QUOTE and before in self._before_field):
                self.open_quote = True
            else:
                plain = position
        self._last = 0 if plain == len(values) - 1 else int(values[-1])
        return np.array(ends, np.int64)


def blocks(pieces: Iterator[bytes], rows: Rows, path: str) -> Iterator[Block]:
    """Split a file's bytes into blocks of whole rows; a last row without a line break gets one.

    Raises:
        InputError: a row is longer than `MAX_ROW_BYTES`.
    """
    carry: list[bytes] = []
    carried = 0
    for data in pieces:
        ends = rows.ends(data)
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
