"""Messages for topics of Kafka and Pub/Sub.

The header or attribute `millstream_id` names the record that a message was made of: `events/0:1234` (topic,
partition, offset) or `/data/a.jsonl:12` (file, row). Beam may repeat bundles, so a message may be sent twice;
both copies have the same id.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import ROW, SOURCE, SourceBatch
from pipelines.beam.streaming.deletes import as_rows, refused
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich import Tombstones
from pipelines.enrich.columns import repeated
from pipelines.enrich.delete_columns import enriched_with_deletes
from pipelines.enrich.enrichment import ADDED, Enrichment
from pipelines.formats import MessageFormat
from pipelines.formats.json_numbers import not_finite
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope, Headers, good_rows
from pipelines.records.event_time import NO_TIME
from pipelines.records.isolation import fault_of, isolate
from pipelines.records.python_values import python_values
from pipelines.records.template import TextTemplate
from pipelines.sinks.dead_letters import bad_row_id
from pipelines.sinks.kafka import arrow_messages, header_bytes, record_encoder

__all__ = ["Message", "MessageEncoder"]


class Message(NamedTuple):
    """A message.

    Attributes:
        value: one record, or an Arrow IPC stream of many.
        key: the record's key: from `MessageEncoder.key`, or else as it came, or else its id; None for many
            records.
        id: the id of the record, or of the first of many.
        time: its event time, microseconds since the epoch; `NO_TIME` where unknown.
        headers: the headers that the record came with.
        timestamp: the timestamp that it came with, milliseconds since the epoch; `NO_TIMESTAMP` where
            unknown.
    """

    value: bytes | None
    key: bytes | None
    id: str
    time: int
    headers: Headers = ()
    timestamp: int = NO_TIMESTAMP


@dataclass(frozen=True)
class MessageEncoder:
    """Embeds records and encodes them as messages.

    Attributes:
        model: the model.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        format: `json` and `msgpack` give one message for each record. `arrow` gives messages of many; the
            columns `_millstream_source` and `_millstream_row` are then the id of a row.
        key: the template of keys, or None.
        tombstones: what becomes of deletes.
        delete_columns: whether Arrow messages have the columns of deletes.
        null_values: whether the topic takes messages without a value.
    """

    model: StreamModel
    enrichment: Enrichment
    format: MessageFormat = "json"
    key: TextTemplate | None = None
    tombstones: Tombstones = "pass"
    delete_columns: bool = False
    null_values: bool = True

    def encode(
        self, batch: SourceBatch, max_bytes: int, metrics: BatchMetrics
    ) -> tuple[list[Message], list[BadRow]]:
        """Embed and encode a batch.

        Args:
            batch: the records.
            max_bytes: the largest value that the topic accepts.
            metrics: the metrics to update.

        Returns:
            The messages, and the rows that could not be made into one.
        """
        begin = time.perf_counter()
        encoder, label = self.model.current()
        deletes, letters = self._deletes(batch, max_bytes)
        metrics.tombstones(len(batch.deletes))
        if self.delete_columns:
            batch = as_rows(batch)
            enriched = enriched_with_deletes(self.enrichment, batch.records, encoder, label)
        else:
            enriched = self.enrichment(batch.records, encoder, label)
        good = good_rows(batch.records.num_rows, enriched.bad)
        bad = [*batch.bad, *(batch.bad_row(row, reason) for row, reason in enriched.bad.items())]
        records = enriched.batch
        if self.format == "json" and (unknown := _not_json(records)):
            bad += [batch.bad_row(int(good[row]), reason) for row, reason in unknown.items()]
            fit = good_rows(len(good), unknown)
            records, good = records.take(pa.array(fit)), good[fit]

        def encoded(first: int, stop: int) -> tuple[list[Message], list[tuple[int, int]]]:
            rows = records.slice(first, stop - first)
            if self.format == "arrow":
                return _of_many(batch, rows, good[first:stop], max_bytes)
            return self._of_single(batch, rows, good[first:stop], label, max_bytes)

        done, failed = isolate(len(good), encoded)
        messages = [message for _, (found, _) in done for message in found]
        for _, (_, large) in done:
            bad += [batch.bad_row(row, _too_large(size, max_bytes)) for row, size in large]
        bad += [batch.bad_row(int(good[row]), fault_of(error)) for row, error in failed.items()]
        n_records = batch.records.num_rows + len(batch.bad)
        metrics.report(label, n_records, len(bad), batch.records.nbytes, time.perf_counter() - begin)
        return _in_order(messages, deletes), bad + letters

    def masked(self, bad: Sequence[BadRow]) -> Sequence[BadRow]:
        """Bad rows as they may leave."""
        masked = self.enrichment.masked()
        return bad if masked is None else list(map(masked.bad_row, bad))

    def numbers(self, message: Message) -> list[int]:
        """The row numbers of the records in one of its messages."""
        if self.format == "arrow":
            return _row_numbers(message.value)
        return [int(message.id.rpartition(":")[2])]

    def _deletes(self, batch: SourceBatch, max_bytes: int) -> tuple[list[Message], list[BadRow]]:
        """The deletes of a batch as messages, or as dead letters."""
        if self.tombstones == "drop" or self.delete_columns or not batch.deletes:
            return [], []
        if self.tombstones == "dead-letter":
            return [], list(batch.deletes)
        if self.format == "arrow":
            return [], refused(batch.deletes, "Arrow messages hold it with --delete-columns alone")
        if not self.null_values:
            return [], refused(batch.deletes, "Pub/Sub has no null values")
        if self.key is not None:
            return [], refused(batch.deletes, "no key can be made of it with --key")
        sizes = [(one, _size(one)) for one in batch.deletes]
        return [_delete(one) for one, size in sizes if size <= max_bytes], [
            replace(one, reason=_too_large(size, max_bytes)) for one, size in sizes if size > max_bytes
        ]

    def _of_single(
        self, batch: SourceBatch, rows: pa.RecordBatch, good: NDArray[np.int64], label: str, max_bytes: int
    ) -> tuple[list[Message], list[tuple[int, int]]]:
        """A message for each record, and the rows that are too large with their sizes."""
        encode = record_encoder("msgpack" if self.format == "msgpack" else "json", None)
        names, (first, last) = rows.schema.names, (rows.schema.get_field_index(name) for name in ADDED)
        columns = [python_values(column) for column in rows.columns[:first]]
        records = [dict(zip(names, values, strict=False)) for values in zip(*columns, strict=True)]
        scores = list(zip(names, rows.columns, strict=True))[last + 1 :]
        # A batch without any column has no rows for Arrow.
        values = encode(records or [{} for _ in good], rows.column(first), label, scores)
        every, times = good.tolist(), batch.times[good].tolist()
        keys, stamps = self._keys(batch, every), _timestamps(batch)[good].tolist()
        source = batch.id_source or batch.source
        ids = [f"{source}:{number}" for number in batch.rows[good].tolist()]
        headers = [()] * len(every) if batch.headers is None else [batch.headers[row] for row in every]
        own = [one.encode() if key is None else key for one, key in zip(ids, keys, strict=True)]
        messages = list(map(Message, values, own, ids, times, headers, stamps))
        sizes = [len(value) + len(key or b"") for value, key in zip(values, keys, strict=True)]
        if batch.headers is not None:
            sizes = [size + header_bytes(about) for size, about in zip(sizes, headers, strict=True)]
        if max(sizes, default=0) <= max_bytes:
            return messages, []
        large = [(row, size) for row, size in zip(every, sizes, strict=True) if size > max_bytes]
        return [one for one, size in zip(messages, sizes, strict=True) if size <= max_bytes], large

    def _keys(self, batch: SourceBatch, rows: list[int]) -> Sequence[bytes | None]:
        if self.key is not None:
            texts = self.key.apply(batch.records.take(pa.array(rows, pa.int64()))).to_pylist()
            return [None if text is None else text.encode() for text in texts]
        return [None] * len(rows) if batch.keys is None else [batch.keys[row] for row in rows]


def _of_many(
    batch: SourceBatch, rows: pa.RecordBatch, good: NDArray[np.int64], max_bytes: int
) -> tuple[list[Message], list[tuple[int, int]]]:
    """As few messages as hold the records, and the rows that are too large with their sizes."""
    source = batch.id_source or batch.source
    rows = rows.append_column(SOURCE, repeated(source, rows.num_rows))
    rows = rows.append_column(ROW, pa.array(batch.rows[good], pa.int64()))
    values, large = arrow_messages(rows, max_bytes)
    stamps = _timestamps(batch)
    sent, messages, first = np.delete(good, large), [], 0
    for value in values:
        numbers = _row_numbers(value)
        inside = sent[first : first + len(numbers)]
        first += len(numbers)
        latest, stamp = int(batch.times[inside].max()), int(stamps[inside].max())
        messages.append(Message(value, None, f"{source}:{numbers[0]}", latest, (), stamp))
    return messages, [(int(good[i]), rows.slice(i, 1).nbytes) for i in large]


def _row_numbers(value: bytes | None) -> list[int]:
    with pa.ipc.open_stream(value) as reader:
        numbers: list[int] = reader.read_next_batch()[ROW].to_pylist()
    return numbers


def _timestamps(batch: SourceBatch) -> NDArray[np.int64]:
    if batch.timestamps is None:
        return np.full(batch.records.num_rows, NO_TIMESTAMP, np.int64)
    return batch.timestamps


def _size(row: BadRow) -> int:
    """About the size of a delete as a message."""
    envelope = row.envelope or Envelope()
    return len(envelope.key or b"") + header_bytes(envelope.headers)


def _delete(row: BadRow) -> Message:
    """A delete as a message."""
    envelope = row.envelope or Envelope()
    stamp = NO_TIMESTAMP if envelope.timestamp is None else envelope.timestamp
    return Message(None, envelope.key, bad_row_id(row), NO_TIME, envelope.headers, stamp)


def _in_order(messages: list[Message], deletes: list[Message]) -> list[Message]:
    """Messages of one source and its deletes in the order in which they came."""
    if not deletes:
        return messages
    return sorted([*messages, *deletes], key=lambda one: int(one.id.rpartition(":")[2]))


def _not_json(rows: pa.RecordBatch) -> dict[int, str]:
    """The rows with numbers that JSON does not have, and why they are bad."""
    kept = rows.schema.names[: rows.schema.get_field_index(ADDED[0])]
    reason = "has NaN or infinity, which JSON does not have: leave it out or write another format"
    return {
        row: f"field {name!r} {reason}" for name in kept for row in not_finite(rows.column(name)).tolist()
    }


def _too_large(size: int, limit: int) -> str:
    return f"the message would have {size:,} bytes; the topic accepts {limit:,}"
