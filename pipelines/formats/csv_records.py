"""CSV records in the bytes of a file: where they end, and whether their quotes are at the right places."""

import re
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.formats.row_boundaries import LINE_FEED

__all__ = ["CsvRecords", "Grammar"]


class CsvRecords:
    """Rows are CSV records, which end at a line break outside quotes.

    A quote opens a field only as its first character, as in RFC 4180; elsewhere it is a plain character.

    Args:
        delimiter: between fields.
        quote: around fields; "" if no character is special between delimiters.
        escape: in quotes, makes the next quote a plain character; without quotes, the next line break. ""
            for none.
        newline: ends a record.
    """

    def __init__(self, delimiter: str, quote: str = '"', escape: str = "", newline: int = LINE_FEED) -> None:
        self.open_quote = False
        self.newline = newline
        self._quote = ord(quote) if quote else -1
        self._escape = ord(escape) if escape else -1
        self._before_field = np.array([ord(delimiter), newline, self._quote], np.int16)
        self._last = newline  # the byte before the next piece; 0 where a quote would be a plain character
        self._n_escapes = 0  # at the end of the last piece

    def ends(self, data: bytes) -> NDArray[np.int64]:
        """The positions after each line break outside quotes."""
        values = np.frombuffer(data, np.uint8)
        newlines = np.flatnonzero(values == self.newline)
        if self._quote < 0:
            if self._escape >= 0:
                newlines = self._not_escaped(values, newlines)
            return newlines + 1
        quotes = np.flatnonzero(values == self._quote)
        if self._escape >= 0:
            every, quotes = quotes, self._not_escaped(values, quotes)
            values = values.copy()
            values[np.setdiff1d(every, quotes)] = 0  # plain characters
        opening = quotes[int(self.open_quote) :: 2]
        before = values[opening - 1]
        if opening.size and opening[0] == 0:
            before[0] = self._last
        if np.isin(before, self._before_field).all():
            return self._by_parity(values, newlines, quotes)
        return self._one_by_one(values, newlines, quotes)

    def _not_escaped(self, values: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.int64]:
        found, self._n_escapes = _not_escaped(values, positions, self._escape, self._n_escapes)
        return found

    def _by_parity(
        self, values: NDArray[np.uint8], newlines: NDArray[np.int64], quotes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Every quote opens or closes a field, so a line break after an even number of them is outside."""
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
        closed = -1 if self._last == self._quote else -2  # where the last field's quote was closed
        plain = -2  # where the last plain quote was
        for position in np.union1d(newlines, quotes).tolist():
            before = int(values[position - 1]) if position else self._last
            if values[position] == self.newline:
                if not self.open_quote:
                    ends.append(position + 1)
            elif self.open_quote:
                self.open_quote, closed = False, position
            elif position == closed + 1 or (before != self._quote and before in self._before_field):
                self.open_quote = True
            else:
                plain = position
        self._last = 0 if plain == len(values) - 1 else int(values[-1])
        return np.array(ends, np.int64)


def _not_escaped(
    values: NDArray[np.uint8], positions: NDArray[np.int64], escape: int, n_before: int = 0
) -> tuple[NDArray[np.int64], int]:
    """Those positions that follow an even number of escapes.

    Args:
        values: bytes.
        positions: rising.
        escape: the byte that escapes the next one.
        n_before: how many escapes there are directly before `values`.

    Returns:
        The positions, and how many escapes are at the end.
    """
    is_escape = values == escape
    if not is_escape.any():
        found = positions[1:] if n_before % 2 and positions.size and positions[0] == 0 else positions
        return found, 0 if values.size else n_before
    others = np.where(is_escape, -1, np.arange(len(values)))
    last_other = np.maximum.accumulate(others)  # -1 where all bytes so far are escapes

    def n_escapes(ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many escapes there are directly before each end."""
        last = np.where(ends > 0, last_other[ends - 1], -1)
        return ends - 1 - last + np.where(last < 0, n_before, 0)

    found = positions[n_escapes(positions) % 2 == 0]
    return found, int(n_escapes(np.array([len(values)]))[0])


class Grammar(NamedTuple):
    """Regular expressions for the records of a dialect.

    Attributes:
        record: matches a whole record whose quotes are at the right places.
        quoted: matches a field in quotes, where one begins; without quotes, an escaped character.
        delimiter: the delimiter.
    """

    record: re.Pattern[bytes]
    quoted: re.Pattern[bytes]
    delimiter: bytes

    @classmethod
    def of(cls, delimiter: str, quote: str, escape: str) -> Self:
        """The grammar of a dialect."""
        between = re.escape(delimiter)
        q, e = re.escape(quote), re.escape(escape)
        if not quote:
            plain = f"(?s){e}." if escape else "(?!)"
            return cls(re.compile(b"(?s).*"), re.compile(plain.encode()), delimiter.encode())
        pair = f"{e}.|{q}{q}" if escape else f"{q}{q}"
        quoted = f"{q}[^{q}{e}]*+(?:(?:{pair})[^{q}{e}]*+)*+{q}"
        field = f"(?:{quoted}|(?!{q})[^{between}]*+)"
        return cls(
            re.compile(f"(?s){field}(?:{between}{field})*+".encode()),
            re.compile(f"(?s)(?:^|(?<={between})){quoted}".encode()),
            delimiter.encode(),
        )

    def count_fields(self, row: bytes) -> int:
        """The number of fields of a record."""
        return self.quoted.sub(b"", row).count(self.delimiter) + 1
