"""Arrivals as messages: what topics of Kafka and of Pub/Sub get for each record.

A message names the record that it was made of, as `events/0:1234` (topic, partition, offset) or
`/data/a.jsonl:12` (file, row), in the header or attribute `millstream_id`. Beam repeats bundles, so a message
may be sent twice; both then have the same id.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import ROW, SOURCE, Arrival
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich.columns import repeated
from pipelines.enrich.enrichment import ADDED, Enrichment
from pipelines.formats import MessageFormat
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.records.template import TextTemplate
from pipelines.sinks.kafka import arrow_messages, record_encoder

__all__ = ["Message", "Messages"]


class Message(NamedTuple):
    """What is sent.

    Attributes:
        value: a record, or an Arrow IPC stream of many.
        key: of the record, by `Messages.key`, else as it came, else its id; None for many records.
        id: of the record, or of the first of many.
        time: of the record, microseconds since the epoch; `NO_TIME` where it is not known.
    """

    value: bytes
    key: bytes | None
    id: str
    time: int


@dataclass(frozen=True)
class Messages:
    """How messages are made.

    Attributes:
        model: what embeds.
        enrichment: the text template, the columns to keep, the vectors' format.
        format: one JSON or MessagePack message a record; or many as Arrow, whose columns `_millstream_source`
            and `_millstream_row` are then the id of a row.
        key: what the key of a record is made of.
    """

    model: StreamModel
    enrichment: Enrichment
    format: MessageFormat = "json"
    key: TextTemplate | None = None

    def make(
        self, arrival: Arrival, max_bytes: int, metrics: BatchMetrics
    ) -> tuple[list[Message], list[BadRow]]:
        """Embed an arrival.

        Args:
            arrival: the records.
            max_bytes: of a value.
            metrics: to tell of it.

        Returns:
            The messages, and the rows that none was made of.
        """
        begin = time.perf_counter()
        encoder, label = self.model.current()
        enriched = self.enrichment(arrival.batch, encoder, label)
        good = np.setdiff1d(np.arange(arrival.batch.num_rows), list(enriched.bad))
        bad = [*arrival.bad, *(_bad(arrival, row, reason) for row, reason in enriched.bad.items())]
        if self.format == "arrow":
            made, large = self._many(arrival, enriched.batch, good, max_bytes)
        else:
            made, large = self._single(arrival, enriched.batch, good, label, max_bytes)
        bad += [_bad(arrival, row, _too_large(size, max_bytes)) for row, size in large]
        n_records = arrival.batch.num_rows + len(arrival.bad)
        metrics.tell(label, n_records, len(bad), arrival.batch.nbytes, time.perf_counter() - begin)
        return made, bad

    def _single(
        self, arrival: Arrival, batch: pa.RecordBatch, good: NDArray[np.int64], label: str, max_bytes: int
    ) -> tuple[list[Message], list[tuple[int, int]]]:
        """A message a record, and the rows that are too large with their sizes."""
        encode = record_encoder("msgpack" if self.format == "msgpack" else "json", None)
        names, (first, last) = batch.schema.names, (batch.schema.get_field_index(name) for name in ADDED)
        records = batch.select(names[:first]).to_pylist()
        scores = list(zip(names, batch.columns, strict=True))[last + 1 :]
        # A batch without any column has no rows for Arrow.
        values = encode(records or [{} for _ in good], batch.column(first), label, scores)
        keys = self._keys(arrival)
        made, large = [], []
        for row, value in zip(good, values, strict=True):
            if len(value) > max_bytes:
                large.append((int(row), len(value)))
                continue
            own = _id(arrival, int(row))
            key = None if keys is None else keys[row]
            made.append(Message(value, own.encode() if key is None else key, own, int(arrival.times[row])))
        return made, large

    def _keys(self, arrival: Arrival) -> Sequence[bytes | None] | None:
        if self.key is None:
            return arrival.keys
        return [None if text is None else text.encode() for text in self.key.apply(arrival.batch).to_pylist()]

    def _many(
        self, arrival: Arrival, batch: pa.RecordBatch, good: NDArray[np.int64], max_bytes: int
    ) -> tuple[list[Message], list[tuple[int, int]]]:
        """As few messages as hold the records, and the rows that are too large with their sizes."""
        places = {
            SOURCE: repeated(arrival.source, batch.num_rows),
            ROW: pa.array(arrival.rows[good], pa.int64()),
        }
        for name, column in places.items():
            batch = batch.append_column(name, column)
        values, large = arrow_messages(batch, max_bytes)
        made, first = [], 0
        for value in values:
            with pa.ipc.open_stream(value) as reader:
                rows = reader.read_next_batch()[ROW]
            own = f"{arrival.source}:{rows[0].as_py()}"
            made.append(Message(value, None, own, int(arrival.times[good[first : first + len(rows)]].max())))
            first += len(rows)
        return made, [(int(good[i]), batch.slice(i, 1).nbytes) for i in large]


def _id(arrival: Arrival, row: int) -> str:
    return f"{arrival.source}:{arrival.rows[row]}"


def _bad(arrival: Arrival, row: int, reason: str) -> BadRow:
    return BadRow(arrival.source, int(arrival.rows[row]), reason, record_of(arrival.batch, row))


def _too_large(size: int, limit: int) -> str:
    return f"the message would have {size:,} bytes, and the topic takes {limit:,}"
