"""Enriched records as messages: one JSON or MessagePack message a record, or Arrow batches of many."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.formats import RecordFormat

if TYPE_CHECKING:
    from confluent_kafka import Producer

__all__ = ["Encode", "Headers", "Outgoing", "TopicSink", "arrow_messages", "header_bytes", "record_encoder"]

Headers = list[tuple[str, str | bytes | None]] | None
Scores = Sequence[tuple[str, pa.Array]]
"""The columns of heads, with their names."""

Encode = Callable[[Sequence[dict[str, Any]], pa.Array, str, Scores], list[bytes]]
"""Makes message values of records, their vectors, the model version, and the scores of heads."""

_OVERHEAD = 256  # bytes of a batch of one message without its key, value and headers
_PER_HEADER = 16


class Outgoing(NamedTuple):
    """A message to send."""

    value: bytes | None
    key: bytes | None
    headers: Headers = None


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
        data = memoryview(vectors.buffers()[1])[vectors.offset * width :]
        return [data[first : first + width] for first in range(0, n * width, width)]
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
    if not batch.num_rows:
        return [], []
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    message = sink.getvalue().to_pybytes()
    if len(message) <= max_bytes:
        return [message], []
    if batch.num_rows == 1:
        return [], [0]
    half = batch.num_rows // 2
    left, left_bad = arrow_messages(batch.slice(0, half), max_bytes)
    right, right_bad = arrow_messages(batch.slice(half), max_bytes)
    return left + right, left_bad + [half + row for row in right_bad]


class TopicSink:
    """Sends messages to one topic; the producer's transaction or flush is the commit.

    Args:
        producer: its queue has room for all messages between two commits.
        topic: the topic's name.
        max_bytes: the topic's `max.message.bytes`.
    """

    def __init__(self, producer: "Producer", topic: str, max_bytes: int) -> None:
        self.topic = topic
        self.max_bytes = max_bytes - _OVERHEAD
        self._producer = producer

    def too_large(self, message: Outgoing) -> bool:
        """Whether the topic would refuse a message."""
        size = len(message.value or b"") + len(message.key or b"") + header_bytes(message.headers)
        return size > self.max_bytes

    def send(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[Headers] | None = None,
    ) -> None:
        """Hand messages to the producer, in order; without headers it is twice as fast.

        Raises:
            KafkaException: the producer refuses them.
        """
        if headers is not None and any(headers):
            for value, key, about in zip(values, keys, headers, strict=True):
                self._producer.produce(self.topic, value, key, headers=about)
            return
        batch: list[dict[str, Any]] = [
            {"value": value, "key": key} for value, key in zip(values, keys, strict=True)
        ]
        if self._producer.produce_batch(self.topic, batch) < len(batch):
            from confluent_kafka import KafkaException

            raise KafkaException(next(message["_error"] for message in batch if "_error" in message))
