"""The source `pubsub:…`: Beam's own source of Google Cloud Pub/Sub, whose messages are gathered into batches.

It runs where Beam's source runs: on Dataflow, and on Beam's `BundleBasedDirectRunner` to try it out. The
runner and Pub/Sub keep track of what has been read and of the watermark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.beam.streaming.batch import SourceBatch, Windows
from pipelines.beam.streaming.interfaces import Source
from pipelines.beam.streaming.sources.arrow_rows import RowReader
from pipelines.beam.streaming.watermark import OPEN, WatermarkPolicy
from pipelines.beam.transforms.metrics import report_left_out
from pipelines.formats import StreamInputFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import decode_columns
from pipelines.records.bad_rows import BadRow, Envelope, Headers

__all__ = ["PubSubSource"]

_BATCH_MESSAGES = 4096
_BATCH_BYTES = 1 << 20  # as Python objects, values take up to 25 times as much
_MAX_ROW = 2**63


@dataclass(frozen=True)
class PubSubSource(Source):
    """A subscription, or a topic for which the runner creates one.

    Attributes:
        path: `projects/PROJECT/subscriptions/NAME` or `projects/PROJECT/topics/NAME`.
        format: the format of the data; `text` gives one field, `text`; `arrow` messages have many records.
        schema: the schema of the records: the fields of the data, then the attributes.
        windows: windows of event time; a message's own time is `time_attribute`, or when it was published.
        policy: how far event times may be ahead of the clock.
        attributes: attributes that become columns of text.
        time_attribute: the attribute with the event time, RFC 3339 or milliseconds since the epoch.
        id_attribute: the attribute with an id that stays the same if a record is published again.
        all_fields: whether the columns were meant to hold all fields: values of others are counted.
    """

    path: str
    format: StreamInputFormat
    schema: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    attributes: tuple[str, ...] = ()
    time_attribute: str | None = None
    id_attribute: str | None = None
    all_fields: bool = False

    @property
    def uri(self) -> str:
        """`pubsub:PATH`."""
        return f"pubsub:{self.path}"

    def read(self, pipeline: beam.Pipeline) -> Any:
        """Add Beam's source and the step that gathers its messages."""
        kind = "subscription" if "/subscriptions/" in self.path else "topic"
        runner = pipeline.options.view_as(StandardOptions).runner or ""
        # Only Dataflow can use it; the Parquet sink drops duplicates of a window in any case.
        label = self.id_attribute if "Dataflow" in runner else None
        read = ReadFromPubSub(
            **{kind: self.path},
            id_label=label,
            with_attributes=True,
            timestamp_attribute=self.time_attribute,
        )
        return (
            pipeline | "Read" >> read | "Gather" >> beam.ParDo(_Gather(self)).with_output_types(SourceBatch)
        )

    def batch(self, messages: Sequence[tuple[Any, int]], source: str, rows: Sequence[int]) -> SourceBatch:
        """Decode messages.

        Args:
            messages: messages, each with its own time, microseconds since the epoch.
            source: where they come from.
            rows: their numbers there.
        """
        values = [message.data for message, _ in messages]
        assert self.format != "arrow"
        fields = [one for one in self.schema if one.name not in self.attributes]
        schema = pa.schema(fields)
        decoder = None
        if self.format == "json" and fields:
            decoder = JsonDecoder(self.uri, schema, all_fields=self.all_fields)
        found = decode_columns(values, self.format, schema, decoder)
        if decoder is not None and decoder.left_out is not None:
            report_left_out(decoder.left_out.take())
        good, numbers = np.array(found.rows, np.int64), np.array(rows, np.int64)
        columns = {name: found.batch.column(name) for name in schema.names}
        for name in self.attributes:
            columns[name] = pa.array(
                [(messages[row][0].attributes or {}).get(name) for row in found.rows], pa.string()
            )
        records = pa.record_batch([columns[name] for name in self.schema.names], schema=self.schema)
        timestamps = np.array([time for _, time in messages], np.int64)
        headers = [_headers(message) for message, _ in messages]
        bad = tuple(
            BadRow(
                source,
                int(numbers[row]),
                reason,
                values[row] or b"",
                Envelope(None, headers[row], int(timestamps[row]) // 1000),
            )
            for row, reason in sorted(found.bad.items())
        )
        batch = SourceBatch(
            source,
            records,
            numbers[good],
            self.windows.event_times(records, timestamps[good]),
            bad,
            OPEN,
            int(timestamps.max()),
            values=tuple(values[row] for row in found.rows),
            headers=tuple(headers[row] for row in found.rows),
            timestamps=timestamps[good] // 1000,
        )
        return batch.timely(self.policy.latest())

    def batch_of_rows(self, message: Any, time: int, number: str) -> SourceBatch:
        """The rows of an Arrow message.

        Args:
            message: the message.
            time: its own time, microseconds since the epoch.
            number: its id.
        """
        attributes = message.attributes or {}
        is_number = number.isdecimal() and int(number) < _MAX_ROW
        place = (self.uri, int(number)) if is_number else (f"{self.uri}/{number}", 0)
        batch = self._rows.batch(
            message.data,
            place,
            Envelope(None, _headers(message), time // 1000),
            time,
            constants={name: attributes.get(name) for name in self.attributes if name in self.schema.names},
        )
        return replace(batch, watermark=OPEN).timely(self.policy.latest())

    @cached_property
    def _rows(self) -> RowReader:
        return RowReader(self.uri, self.schema, self.windows, self.all_fields)


def _headers(message: Any) -> Headers:
    """The attributes of a message."""
    return tuple((name, value.encode()) for name, value in (message.attributes or {}).items())


class _Gather(beam.DoFn):
    """Gathers the messages of a bundle into batches."""

    def __init__(self, source: PubSubSource) -> None:
        self._source = source

    def start_bundle(self) -> None:
        self._messages: list[tuple[Any, int]] = []
        self._n_bytes = 0

    def process(self, message: Any, time: Any = beam.DoFn.TimestampParam) -> Iterator[SourceBatch]:
        self._messages.append((message, time.micros))
        self._n_bytes += len(message.data or b"")
        if len(self._messages) >= _BATCH_MESSAGES or self._n_bytes >= _BATCH_BYTES:
            yield from self._batches()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for batch in self._batches():
            yield WindowedValue(batch, Timestamp(micros=batch.ingestion_time), (GlobalWindow(),))

    def _batches(self) -> Iterator[SourceBatch]:
        messages, self._messages, self._n_bytes = self._messages, [], 0
        ids = [self._id(message) for message, _ in messages]
        if self._source.format == "arrow":
            for (message, time), one in zip(messages, ids, strict=True):
                yield self._source.batch_of_rows(message, time, one)
            return
        numbered = [i for i, one in enumerate(ids) if one.isdecimal() and int(one) < _MAX_ROW]
        if numbered:  # Pub/Sub's own ids are numbers
            rows = [int(ids[i]) for i in numbered]
            yield self._source.batch([messages[i] for i in numbered], self._source.uri, rows)
        for i in sorted(set(range(len(ids))) - set(numbered)):
            yield self._source.batch([messages[i]], f"{self._source.uri}/{ids[i]}", [0])

    def _id(self, message: Any) -> str:
        attributes = message.attributes or {}
        label = self._source.id_attribute
        return str(attributes.get(label) or message.message_id) if label else str(message.message_id)
