"""Messages of a Kafka partition as a batch of records."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import SourceBatch, Windows
from pipelines.beam.streaming.sources.arrow_rows import RowReader
from pipelines.beam.streaming.watermark import WatermarkPolicy
from pipelines.beam.transforms.metrics import report_left_out
from pipelines.formats import StreamInputFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import decode_columns
from pipelines.kafka.messages import NO_TIMESTAMP, deletes_among, envelope_of, headers_of
from pipelines.records.bad_rows import BadRow
from pipelines.records.event_time import EARLIEST, LATEST

__all__ = ["BatchDecoder"]


@dataclass(frozen=True)
class BatchDecoder:
    """Decodes the messages of a topic.

    Attributes:
        topic: its name.
        format: the format of values; `text` gives one field, `text`, and `arrow` messages have many records.
        schema: the schema of the records.
        windows: windows of event time; a message's own time is its timestamp.
        policy: how far event times may be ahead of the clock.
        all_fields: whether the columns were meant to hold all fields: values of others are counted.
    """

    topic: str
    format: StreamInputFormat
    schema: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    all_fields: bool = False

    @cached_property
    def _json(self) -> JsonDecoder | None:
        if self.format != "json":
            return None
        return JsonDecoder(f"kafka:{self.topic}", self.schema, all_fields=self.all_fields)

    def batch(self, number: int, messages: list[Any], watermark: int, version: str) -> SourceBatch:
        """Decode messages of one partition.

        Args:
            number: the partition's.
            messages: confluent_kafka's, in order; one Arrow message at a time.
            watermark: microseconds since the epoch, before these messages.
            version: tells the partition's rows from those that had their offsets before.
        """
        name = f"{self.topic}/{number}"
        stamps = np.array([message.timestamp()[1] for message in messages], np.int64)
        ingested = int(_micros(stamps).max())
        deletes: tuple[BadRow, ...] = ()
        if deleted := deletes_among(messages):
            deletes = tuple(_delete(name, messages[row]) for row in deleted)
            live = np.delete(np.arange(len(messages)), deleted)
            messages, stamps = [messages[row] for row in live], stamps[live]
        values = [message.value() for message in messages]
        offsets = np.array([message.offset() for message in messages], np.int64)
        if self.format == "arrow":
            return self._of_rows(name, messages, deletes, watermark, ingested, version)
        decoder = self._json
        found = decode_columns(values, self.format, self.schema, decoder)
        if decoder is not None and decoder.left_out is not None:
            report_left_out(decoder.left_out.take())
        rows = np.array(found.rows, np.int64)
        bad = tuple(
            BadRow(name, int(offsets[row]), reason, values[row], envelope_of(messages[row]))
            for row, reason in sorted(found.bad.items())
        )
        good = messages if len(rows) == len(messages) else [messages[row] for row in found.rows]
        headers, unreadable = headers_of(good)
        batch = SourceBatch(
            name,
            found.batch,
            offsets[rows],
            self.windows.event_times(found.batch, _micros(stamps[rows])),
            bad,
            watermark,
            ingested,
            keys=tuple(message.key() for message in good),
            values=tuple(message.value() for message in good),
            headers=headers,
            timestamps=stamps[rows],
            deletes=deletes,
            version=version,
        )
        return batch.without(unreadable).timely(self.policy.latest())

    def _of_rows(
        self,
        name: str,
        messages: list[Any],
        deletes: tuple[BadRow, ...],
        watermark: int,
        ingested: int,
        version: str,
    ) -> SourceBatch:
        """The rows of one Arrow message, or a delete."""
        if not messages:
            nothing, none = pa.RecordBatch.from_pylist([], self.schema), np.zeros(0, np.int64)
            return SourceBatch(
                name, nothing, none, none, (), watermark, ingested, version=version, deletes=deletes
            )
        [message] = messages
        _, unreadable = headers_of(messages)
        reader = self._rows
        batch = reader.batch(message.value(), (name, message.offset()), envelope_of(message), ingested)
        batch = replace(batch, watermark=watermark, ingestion_time=ingested, version=version, deletes=deletes)
        batch = batch.without(dict.fromkeys(range(len(batch.rows)), unreadable[0]) if unreadable else {})
        return batch.timely(self.policy.latest())

    @cached_property
    def _rows(self) -> RowReader:
        return RowReader(f"kafka:{self.topic}", self.schema, self.windows, self.all_fields)


def _micros(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The timestamps of messages in microseconds since the epoch; 0 where there is none.

    Any number may stand there: some producers write microseconds. Those that are no times are just outside of
    `EARLIEST` and `LATEST`.
    """
    known = np.where(stamps == NO_TIMESTAMP, 0, stamps)
    inside: NDArray[np.int64] = np.clip(known, EARLIEST // 1000 - 1, LATEST // 1000 + 1) * 1000
    return inside


def _delete(source: str, message: Any) -> BadRow:
    return BadRow(source, message.offset(), "a delete: the value is null", None, envelope_of(message))
