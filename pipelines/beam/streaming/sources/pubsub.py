"""The input `pubsub:…` of streaming jobs: Beam's own source of Google Cloud Pub/Sub, gathered into batches.

It runs where Beam's source runs: on Dataflow, and on Beam's `BundleBasedDirectRunner` for trying. How far a
subscription has been read, and how far event time has come, is between the runner and Pub/Sub.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.beam.streaming.batch import Arrival, Windows
from pipelines.beam.streaming.event_time import OPEN
from pipelines.beam.streaming.interfaces import Input
from pipelines.formats import PlainFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import decode_columns
from pipelines.records.bad_rows import BadRow

__all__ = ["PubSubInput"]

_MESSAGES = 4096  # of a batch
_LARGEST = 2**63


@dataclass(frozen=True)
class PubSubInput(Input):
    """A subscription, or a topic of which the runner makes one.

    Attributes:
        path: `projects/PROJECT/subscriptions/NAME` or `projects/PROJECT/topics/NAME`.
        format: of the data; text is one field, `text`.
        records: the schema of the records, the attributes behind the fields of the data.
        windows: how the time of a record is found; a message's own time is `time_attribute`, or when it was
            published.
        attributes: names of attributes that become columns of text.
        time_attribute: with the time of a record, RFC 3339 or milliseconds since the epoch.
        id_attribute: with an id of a record that is the same if it is published again.
    """

    path: str
    format: PlainFormat
    records: pa.Schema
    windows: Windows
    attributes: tuple[str, ...] = ()
    time_attribute: str | None = None
    id_attribute: str | None = None

    @property
    def place(self) -> str:
        """See `Input`."""
        return f"pubsub:{self.path}"

    def arrivals(self, pipeline: beam.Pipeline) -> Any:
        """See `Input`."""
        kind = "subscription" if "/subscriptions/" in self.path else "topic"
        runner = pipeline.options.view_as(StandardOptions).runner or ""
        # Elsewhere Beam has no use for it; equal ids are one row of a window all the same.
        label = self.id_attribute if "Dataflow" in runner else None
        read = ReadFromPubSub(
            **{kind: self.path},
            id_label=label,
            with_attributes=True,
            timestamp_attribute=self.time_attribute,
        )
        return pipeline | "Read" >> read | "Gather" >> beam.ParDo(_Gather(self)).with_output_types(Arrival)

    def arrival(self, messages: Sequence[tuple[Any, int]], source: str, rows: Sequence[int]) -> Arrival:
        """Decode messages.

        Args:
            messages: each with its own time, microseconds since the epoch.
            source: where they come from.
            rows: their numbers there.
        """
        values = [message.data for message, _ in messages]
        fields = [one for one in self.records if one.name not in self.attributes]
        schema = pa.schema(fields)
        decoder = JsonDecoder(self.place, schema) if self.format == "json" and fields else None
        found = decode_columns(values, self.format, schema, decoder)
        good, numbers = np.array(found.rows, np.int64), np.array(rows, np.int64)
        columns = {name: found.batch.column(name) for name in schema.names}
        for name in self.attributes:
            columns[name] = pa.array(
                [(messages[row][0].attributes or {}).get(name) for row in found.rows], pa.string()
            )
        batch = pa.record_batch([columns[name] for name in self.records.names], schema=self.records)
        own = np.array([time for _, time in messages], np.int64)
        bad = tuple(
            BadRow(source, int(numbers[row]), reason, values[row] or b"")
            for row, reason in sorted(found.bad.items())
        )
        times = self.windows.times(batch, own[good])
        return Arrival(source, batch, numbers[good], times, bad, OPEN, int(own.max()))


class _Gather(beam.DoFn):
    """Makes batches of the messages of a bundle."""

    def __init__(self, source: PubSubInput) -> None:
        self._source = source

    def start_bundle(self) -> None:
        self._messages: list[tuple[Any, int]] = []

    def process(self, message: Any, time: Any = beam.DoFn.TimestampParam) -> Iterator[Arrival]:
        self._messages.append((message, time.micros))
        if len(self._messages) >= _MESSAGES:
            yield from self._arrivals()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for arrival in self._arrivals():
            yield WindowedValue(arrival, Timestamp(micros=arrival.own), (GlobalWindow(),))

    def _arrivals(self) -> Iterator[Arrival]:
        messages, self._messages = self._messages, []
        ids = [self._id(message) for message, _ in messages]
        numbered = [i for i, one in enumerate(ids) if one.isdecimal() and int(one) < _LARGEST]
        if numbered:  # as Pub/Sub's own are
            rows = [int(ids[i]) for i in numbered]
            yield self._source.arrival([messages[i] for i in numbered], self._source.place, rows)
        for i in sorted(set(range(len(ids))) - set(numbered)):
            yield self._source.arrival([messages[i]], f"{self._source.place}/{ids[i]}", [0])

    def _id(self, message: Any) -> str:
        attributes = message.attributes or {}
        label = self._source.id_attribute
        return str(attributes.get(label) or message.message_id) if label else str(message.message_id)
