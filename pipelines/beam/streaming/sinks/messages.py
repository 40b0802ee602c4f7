"""Messages for topics of Kafka and Pub/Sub.

The header or attribute `millstream_id` names the record that a message was made of: `events/0:1234` (topic,
partition, offset) or `/data/a.jsonl:12` (file, row). Beam may repeat bundles, so a message may be sent twice;
both copies have the same id.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import ROW, SOURCE, SourceBatch
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich.columns import repeated
from pipelines.enrich.enrichment import ADDED, Enrichment
from pipelines.formats import MessageFormat
from pipelines.records.bad_rows import BadRow
from pipelines.records.isolation import fault_of, isolate
from pipelines.records.template import TextTemplate
from pipelines.sinks.kafka import arrow_messages, record_encoder

__all__ = ["Message", "MessageEncoder"]


class Message(NamedTuple):
    """A message.

    Attributes:
        value: one record, or an Arrow IPC stream of many.
        key: the record's key: from `MessageEncoder.key`, or else as it came, or else its id; None for many
            records.
        id: the id of the record, or of the first of many.
        time: its event time, microseconds since the epoch; `NO_TIME` where unknown.
    """

    value: bytes
    key: bytes | None
    id: str
    time: int


@dataclass(frozen=True)
class MessageEncoder:
    """Embeds records and encodes them as messages.

    Attributes:
        model: the model.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        format: `json` and `msgpack` give one message for each record. `arrow` gives messages of many; the
            columns `_millstream_source` and `_millstream_row` are then the id of a row.
        key: the template of keys, or None.
    """

    model: StreamModel
    enrichment: Enrichment
    format: MessageFormat = "json"
    key: TextTemplate | None = None

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
        enriched = self.enrichment(batch.records, encoder, label)
        good = np.setdiff1d(np.arange(batch.records.num_rows), list(enriched.bad))
        bad = [*batch.bad, *(batch.bad_row(row, reason) for row, reason in enriched.bad.items())]

        def encoded(first: int, stop: int) -> tuple[list[Message], list[tuple[int, int]]]:
            rows = enriched.batch.slice(first, stop - first)
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
        return messages, bad

    def _of_single(
        self, batch: SourceBatch, rows: pa.RecordBatch, good: NDArray[np.int64], label: str, max_bytes: int
    ) -> tuple[list[Message], list[tuple[int, int]]]:
        """A message for each record, and the rows that are too large with their sizes."""
        encode = record_encoder("msgpack" if self.format == "msgpack" else "json", None)
        names, (first, last) = rows.schema.names, (rows.schema.get_field_index(name) for name in ADDED)
        records = rows.select(names[:first]).to_pylist()
        scores = list(zip(names, rows.columns, strict=True))[last + 1 :]
        # A batch without any column has no rows for Arrow.
        values = encode(records or [{} for _ in good], rows.column(first), label, scores)
        keys = self._keys(batch, good)
        messages, large = [], []
        for row, value, key in zip(good, values, keys, strict=True):
            if len(value) > max_bytes:
                large.append((int(row), len(value)))
                continue
            message_id = f"{batch.source}:{batch.rows[row]}"
            messages.append(
                Message(value, message_id.encode() if key is None else key, message_id, int(batch.times[row]))
            )
        return messages, large

    def _keys(self, batch: SourceBatch, good: NDArray[np.int64]) -> Sequence[bytes | None]:
        if self.key is not None:
            texts = self.key.apply(batch.records.take(pa.array(good))).to_pylist()
            return [None if text is None else text.encode() for text in texts]
        return [None] * len(good) if batch.keys is None else [batch.keys[row] for row in good]


def _of_many(
    batch: SourceBatch, rows: pa.RecordBatch, good: NDArray[np.int64], max_bytes: int
) -> tuple[list[Message], list[tuple[int, int]]]:
    """As few messages as hold the records, and the rows that are too large with their sizes."""
    rows = rows.append_column(SOURCE, repeated(batch.source, rows.num_rows))
    rows = rows.append_column(ROW, pa.array(batch.rows[good], pa.int64()))
    values, large = arrow_messages(rows, max_bytes)
    messages, first = [], 0
    for value in values:
        with pa.ipc.open_stream(value) as reader:
            numbers = reader.read_next_batch()[ROW]
        latest = int(batch.times[good[first : first + len(numbers)]].max())
        messages.append(Message(value, None, f"{batch.source}:{numbers[0].as_py()}", latest))
        first += len(numbers)
    return messages, [(int(good[i]), rows.slice(i, 1).nbytes) for i in large]


def _too_large(size: int, limit: int) -> str:
    return f"the message would have {size:,} bytes; the topic accepts {limit:,}"
