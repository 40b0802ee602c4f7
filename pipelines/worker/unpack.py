"""The records in messages: one in each, or the rows of Arrow messages."""

from collections.abc import Collection, Sequence
from typing import Protocol

from pipelines.formats.arrow.rows import ArrowRows, unpack
from pipelines.formats.arrow.sizes import DamagedStream, stream_size
from pipelines.formats.messages import Value
from pipelines.kafka.headers import of_each
from pipelines.kafka.messages import byte_parts
from pipelines.worker.message_batch import MessageBatch

__all__ = ["OneEach", "RowsOfEach", "Unpack", "Values", "part_of"]

Values = Sequence[Value] | ArrowRows
"""What a decoder makes records of: values of messages, or rows."""

_PART_BYTES = 1 << 20  # of values decoded together: as Python objects they take up to 25 times as much
_ROW_PART_BYTES = 8 << 20  # of rows with their vectors


class Unpack(Protocol):
    """Finds the records in messages."""

    def parts(self, messages: MessageBatch) -> list[tuple[int, int]]:
        """Divide messages into parts that fit in memory: the first of each, and the one after its last."""

    def __call__(self, messages: MessageBatch) -> tuple[MessageBatch, Values]:
        """The records, and what to decode for each of them."""


class OneEach:
    """Each message is a record."""

    def parts(self, messages: MessageBatch) -> list[tuple[int, int]]:
        """Parts of at most a mebibyte of values."""
        return messages.parts(_PART_BYTES)

    def __call__(self, messages: MessageBatch) -> tuple[MessageBatch, Values]:
        """The messages and their values."""
        return messages, list(of_each(messages.messages, "value"))


class RowsOfEach:
    """Each row of a message is a record.

    Args:
        limit: the bytes that the rows of one message may have in memory.
        row_bytes: the bytes that a vector adds to a row.
        columns: the columns to read; None for all.
    """

    def __init__(self, limit: int, row_bytes: int, columns: Collection[str] | None) -> None:
        self._limit = limit
        self._row_bytes = row_bytes
        self._columns = columns

    def parts(self, messages: MessageBatch) -> list[tuple[int, int]]:
        """Parts whose rows have few bytes in memory, or that are one message."""
        sizes = list(map(self._size, of_each(messages.messages, "value")))
        return byte_parts(sizes, _ROW_PART_BYTES)

    def _size(self, value: Value) -> int:
        try:
            size = stream_size(value or b"")
        except DamagedStream:
            return len(value or b"")
        n_bytes = size.n_bytes + size.rows * self._row_bytes
        return n_bytes if n_bytes <= self._limit else len(value or b"")  # else it is not read

    def __call__(self, messages: MessageBatch) -> tuple[MessageBatch, Values]:
        """The rows of the messages."""
        found = unpack(
            list(of_each(messages.messages, "value")),
            limit=self._limit,
            row_bytes=self._row_bytes,
            columns=self._columns,
        )
        return messages.records(found.messages, found.items), found.rows


def part_of(values: Values, first: int, stop: int) -> Values:
    """What to decode for some of the records."""
    return values.part(first, stop) if isinstance(values, ArrowRows) else values[first:stop]
