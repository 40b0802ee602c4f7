"""Messages in batches, with their partitions and offsets as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.formats.arrow.reader import row_stream
from pipelines.formats.arrow.rows import WHOLE
from pipelines.kafka.messages import byte_parts, deletes_among

__all__ = ["MessageBatch", "runs"]

_RECORD_BYTES = 1024


def runs(partitions: NDArray[np.int32]) -> Iterator[tuple[int, int, int]]:
    """Divide a batch where the partition changes; messages of one partition mostly come in long runs.

    Yields:
        The partition of a run, its first record, and the one after its last.
    """
    if len(partitions):
        edges = np.flatnonzero(partitions[1:] != partitions[:-1]) + 1
        for first, stop in pairwise([0, *edges.tolist(), len(partitions)]):
            yield int(partitions[first]), first, stop


@dataclass(frozen=True)
class MessageBatch:
    """A batch of messages, or of the records in them; those of one partition are in order.

    Attributes:
        messages: confluent_kafka's; of records, the message of each.
        partitions: `(n,)` int32, numbers of `PartitionIndex`.
        offsets: `(n,)` int64.
        items: `(n,)` int64, the number of each record's row in its message, `WHOLE` for a message as a whole;
            None where each message is one record.
    """

    messages: list[Any]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    items: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def records(self, messages: NDArray[np.int64], items: NDArray[np.int64]) -> "MessageBatch":
        """The records in these messages.

        Args:
            messages: `(n,)` int64, the message of each record.
            items: `(n,)` int64, the row of each record in its message.
        """
        counts = np.bincount(messages, minlength=len(self)).tolist()
        return MessageBatch(
            list(chain.from_iterable(map(repeat, self.messages, counts))),
            self.partitions[messages],
            self.offsets[messages],
            items,
        )

    def item(self, row: int) -> int | None:
        """The number of a record's row in its message; None if it is the whole message."""
        if self.items is None or self.items[row] == WHOLE:
            return None
        return int(self.items[row])

    def weight(self, row: int) -> int:
        """For how many records a bad one counts: a message whose rows are unknown has one a kibibyte."""
        if self.items is None or self.items[row] != WHOLE:
            return 1
        return max(1, len(self.messages[row]) // _RECORD_BYTES)

    def value(self, row: int) -> bytes | None:
        """The value of a record: that of its message, or its row alone."""
        value: bytes | None = self.messages[row].value()
        if (item := self.item(row)) is None or value is None:
            return value
        return row_stream(value, item)

    def slice(self, first: int, stop: int) -> "MessageBatch":
        """The messages from `first` up to `stop` (exclusive)."""
        if stop - first == len(self):
            return self
        part = slice(first, stop)
        items = None if self.items is None else self.items[part]
        return MessageBatch(self.messages[part], self.partitions[part], self.offsets[part], items)

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """`(n,)` int64, the timestamps, milliseconds since the epoch."""
        changes = (np.diff(self.offsets) != 0) | (np.diff(self.partitions) != 0)
        edges = np.concatenate([[0], np.flatnonzero(changes) + 1]) if len(self) else np.zeros(0, np.int64)
        times = [self.messages[row].timestamp()[1] for row in edges.tolist()]
        return np.repeat(np.array(times, np.int64), np.diff(edges, append=len(self)))

    @cached_property
    def sizes(self) -> list[int]:
        """The bytes of each value; null has none."""
        return list(map(len, self.messages))

    @cached_property
    def n_bytes(self) -> int:
        """The bytes of all values."""
        return sum(self.sizes)

    @property
    def deletes(self) -> list[int]:
        """Which messages are deletes, ascending."""
        if self.items is not None:
            whole = np.flatnonzero(self.items == WHOLE)
            places: list[int] = whole.tolist()
            return [places[i] for i in deletes_among([self.messages[row] for row in places])]
        return [] if all(self.sizes) else deletes_among(self.messages)

    def parts(self, n_bytes: int) -> list[tuple[int, int]]:
        """Divide the batch so that the values of each part have at most so many bytes, or are one."""
        if self.n_bytes <= n_bytes:
            return [(0, len(self))]
        return byte_parts(self.sizes, n_bytes)

    def select(self, mask: NDArray[np.bool_]) -> "MessageBatch":
        """The messages where the mask is true."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        return MessageBatch(
            [self.messages[i] for i in rows.tolist()], self.partitions[rows], self.offsets[rows]
        )
