"""Enriched records as messages: one JSON or MessagePack message a record, or Arrow batches of many."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise, repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.formats import RecordFormat
from pipelines.kafka.messages import KAFKA_LIMITS, NO_TIMESTAMP, NOW, TIMESTAMP, TimeLimits

__all__ = ["Encode", "Headers", "Outgoing", "TopicSink", "arrow_messages", "header_bytes", "record_encoder"]

Headers = list[tuple[str, str | bytes | None]] | None
Scores = Sequence[tuple[str, pa.Array]]
"""The columns of heads, with their names."""

Encode = Callable[[Sequence[dict[str, Any]], pa.Array, str, Scores], list[bytes]]
"""Makes message values of records, their vectors, the model version, and the scores of heads."""

_log = logging.getLogger(__name__)
_OVERHEAD = 256  # bytes of a batch of one message without its key, value and headers
_PER_HEADER = 16
_ANY_PARTITION = -1  # the partitioner chooses


class Outgoing(NamedTuple):
    """A message to send, with its timestamp in milliseconds since the epoch."""

    value: bytes | None
    key: bytes | None
    headers: Headers = None
    time: int = NO_TIMESTAMP

    @property
    def n_bytes(self) -> int:
        """About its size in a batch of messages."""
        return len(self.value or b"") + len(self.key or b"") + header_bytes(self.headers)


def header_bytes(headers: Sequence[tuple[str, str | bytes | None]] | None) -> int:
    """About the size of headers in a message."""
    return sum(_PER_HEADER + len(name) + len(value or b"") for name, value in headers or ())


def record_encoder(kind: RecordFormat, fields: Sequence[str] | None) -> Encode:
    """Make an encoder of records that adds `embedding`, `model_version` and scores to them.

    Args:
        kind: of the messages. Vectors of fixed-size bytes become base64 text in JSON.
        fields: the fields to keep, or None for all.
    """
    encoder = msgspec.json.Encoder() if kind == "json" else msgspec.msgpack.Encoder()
    encode = encoder.encode

    def made(
        records: Sequence[dict[str, Any]], vectors: pa.Array, label: str, scores: Scores = ()
    ) -> list[bytes]:
        if fields is not None:
            records = [{name: record[name] for name in fields if name in record} for record in records]
        messages = []
        for name, column in scores:
            for record, value in zip(records, _score_values(column, kind), strict=True):
                record[name] = value
        for record, vector in zip(records, _values(vectors, kind), strict=True):
            record["embedding"] = vector
            record["model_version"] = label
            messages.append(encode(record))
        return messages

    return made


def _values(vectors: pa.Array, kind: RecordFormat) -> Sequence[Any]:
    """The value of each vector in a record."""
    n = len(vectors)
    if pa.types.is_fixed_size_binary(vectors.type):
        width = vectors.type.byte_width
        data = np.frombuffer(vectors.buffers()[1], f"V{width}", n, vectors.offset * width)
        return data.tolist()  # type: ignore[no-any-return] # a list of bytes
    dim = vectors.type.list_size
    flat = vectors.flatten()
    if kind == "json":  # Arrow writes the shortest digits that give the same float
        lists = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * dim, flat.cast(pa.string()))
        return [msgspec.Raw(f"[{text}]".encode()) for text in pc.binary_join(lists, ",").to_pylist()]
    if pa.types.is_integer(flat.type):
        return flat.to_numpy().reshape(n, dim).tolist()  # type: ignore[no-any-return] # lists of ints
    return _msgpack_floats(flat.to_numpy(zero_copy_only=False).reshape(n, dim))


def _score_values(column: pa.Array, kind: RecordFormat) -> Sequence[Any]:
    """The value of each score in a record: a float in JSON has the digits that a float32 needs."""
    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        parts = (_score_values(part, kind) for part in column.flatten())
        return [dict(zip(names, values, strict=True)) for values in zip(*parts, strict=True)]
    if pa.types.is_list(column.type):
        inner, lengths = _score_values(column.flatten(), kind), pc.list_value_length(column)
        ends = np.cumsum([0, *lengths.to_pylist()]).tolist()
        return [inner[first:stop] for first, stop in pairwise(ends)]
    if pa.types.is_floating(column.type) and kind == "json":
        return [msgspec.Raw(text.encode()) for text in column.cast(pa.string()).to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _msgpack_floats(vectors: Any) -> list[msgspec.Raw]:
    """MessagePack arrays of 32-bit floats; msgspec writes 64 bits."""
    n, dim = vectors.shape
    elements = np.empty((n, dim), np.dtype([("tag", "u1"), ("value", ">f4")]))
    elements["tag"], elements["value"] = 0xCA, vectors
    data, width = elements.tobytes(), 5 * dim
    head = b"\xdd" + dim.to_bytes(4, "big")
    return [msgspec.Raw(head + data[first : first + width]) for first in range(0, n * width, width)]


def arrow_messages(batch: pa.RecordBatch, max_bytes: int) -> tuple[list[bytes], list[int]]:
    """A batch as Arrow IPC streams of at most `max_bytes` each.

    Returns:
        The streams in order, and the rows that are too large for one.
    """
    values: list[bytes] = []
    large: list[int] = []
    rows = max(1, batch.num_rows * max_bytes * 15 // 16 // max(batch.nbytes, 1))  # that usually just fit
    for first in range(0, batch.num_rows, rows):
        some, too_large = _that_fit(batch.slice(first, rows), max_bytes)
        values += some
        large += [first + row for row in too_large]
    return values, large


def _that_fit(batch: pa.RecordBatch, max_bytes: int) -> tuple[list[bytes], list[int]]:
    """A batch as one stream, or in halves."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    message = sink.getvalue().to_pybytes()
    if len(message) <= max_bytes:
        return [message], []
    if batch.num_rows == 1:
        return [], [0]
    half = batch.num_rows // 2
    left, left_bad = _that_fit(batch.slice(0, half), max_bytes)
    right, right_bad = _that_fit(batch.slice(half), max_bytes)
    return left + right, left_bad + [half + row for row in right_bad]


class TopicSink:
    """Sends messages to one topic; the producer's transaction or flush is the commit.

    Args:
        producer: confluent_kafka's; its queue has room for all messages between two commits.
        topic: the topic's name.
        max_bytes: the topic's `max.message.bytes`.
        limits: the timestamps that it accepts.
        needs_keys: whether it takes no message without a key, as a compacted topic.

    Attributes:
        producer: where messages go.
        max_bytes: the largest message that is sent.
    """

    def __init__(
        self,
        producer: Any,
        topic: str,
        max_bytes: int,
        limits: TimeLimits = KAFKA_LIMITS,
        *,
        needs_keys: bool = False,
    ) -> None:
        self.topic = topic
        self.needs_keys = needs_keys
        self.limits = limits
        self.max_bytes = max_bytes - _OVERHEAD
        self.producer = producer
        self._warned = False

    def too_large(self, message: Outgoing) -> bool:
        """Whether the topic would refuse a message."""
        return message.n_bytes > self.max_bytes

    def send(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[Headers] | None = None,
        times: Sequence[int] | None = None,
    ) -> None:
        """Hand messages to the producer, in order.

        Args:
            values: of the messages.
            keys: of the messages.
            headers: of the messages, or None if none has any.
            times: their timestamps, milliseconds since the epoch, `NO_TIMESTAMP` where unknown. One that the
                topic does not accept becomes the header `TIMESTAMP`, and the message has the time of sending.

        Raises:
            KafkaException: the producer refuses them.
        """
        if times:
            times, headers = self._accepted(times, headers)
        # Positional arguments from C iterators: faster than `produce_batch`, which takes no timestamps.
        calls = map(
            self.producer.produce,
            repeat(self.topic),
            values,
            keys,
            repeat(_ANY_PARTITION),
            repeat(None),
            repeat(None),
            times or repeat(NOW),
            repeat(None) if headers is None else headers,
        )
        try:
            deque(calls, maxlen=0)
        except BufferError as error:
            from confluent_kafka import KafkaError, KafkaException

            raise KafkaException(KafkaError(KafkaError._QUEUE_FULL, str(error))) from error

    def _accepted(
        self, times: Sequence[int], headers: Sequence[Headers] | None
    ) -> tuple[Sequence[int], Sequence[Headers] | None]:
        """The timestamps to send, and the headers with those that the topic does not accept."""
        now, earliest = round(1000 * time.time()), min(times)
        if now - earliest > self.limits.kept and earliest != NO_TIMESTAMP and not self._warned:
            self._warned = True
            _log.warning(
                "topic %r deletes messages that are older than its retention.ms, and keeps the records' "
                "timestamps, some of which are older: raise retention.ms, or set message.timestamp.type to "
                "LogAppendTime",
                self.topic,
            )
        if self.limits.accepts(earliest, max(times), now):
            return times, headers
        sent = self.limits.accepted(times, now)
        return sent, _with_times(headers, times, sent)


def _with_times(
    headers: Sequence[Headers] | None, times: Sequence[int], sent: Sequence[int]
) -> list[Headers]:
    """The headers of messages, with the timestamps that are known and not sent."""
    about: Sequence[Headers] = [None] * len(times) if headers is None else headers
    return [
        one if given != NOW or time == NO_TIMESTAMP else [*(one or ()), (TIMESTAMP, b"%d" % time)]
        for one, time, given in zip(about, times, sent, strict=True)
    ]
