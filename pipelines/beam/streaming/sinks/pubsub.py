"""The sink `pubsub:…`: records are embedded and published as they arrive, at least once.

Beam's own sink publishes; it runs on every runner. A bundle ends once Pub/Sub has accepted all of its
messages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, WriteToPubSub

from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.event_time import NO_TIME
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.sinks.messages import MessageEncoder
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.records.bad_rows import ID, BadRow
from pipelines.sinks.dead_letter_messages import dead_letter_headers
from pipelines.sinks.dead_letters import write_dead_letters

__all__ = ["TIME", "PubSubSink"]

TIME = "millstream_time"
"""The attribute with the event time of a record, RFC 3339."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BYTES = 9_900_000  # Pub/Sub accepts 10 MB, attributes included
_MAX_ATTRIBUTE = 1024
_DEAD = "letters"  # the tag of dead letters


@dataclass(frozen=True)
class PubSubSink(Sink):
    """A topic.

    Attributes:
        topic: `projects/PROJECT/topics/NAME`.
        dead_letters: where bad rows go: another topic, or the URI of a folder.
        messages: how messages are encoded.
    """

    topic: str
    dead_letters: str
    messages: MessageEncoder

    @property
    def uri(self) -> str:
        """`pubsub:TOPIC`."""
        return f"pubsub:{self.topic}"

    def write(self, batches: Any) -> Any:
        """Publish messages and dead letters."""
        encode = beam.ParDo(_Encode(self.messages)).with_output_types(PubsubMessage)
        both = batches | "Embed" >> encode.with_outputs(_DEAD, main="messages")
        dead_letters = both[_DEAD]
        if "://" in self.dead_letters:
            _ = dead_letters | "Write letters" >> beam.Map(_write, self.dead_letters)
        else:
            each = beam.FlatMap(lambda rows: map(_dead_letter, rows)).with_output_types(PubsubMessage)
            publish = WriteToPubSub(self.dead_letters, with_attributes=True)
            _ = dead_letters | "Letters" >> each | "Publish letters" >> publish
        return both["messages"] | "Publish" >> WriteToPubSub(self.topic, with_attributes=True)


class _Encode(beam.DoFn):
    def __init__(self, messages: MessageEncoder) -> None:
        self._messages = messages
        self._metrics = BatchMetrics()

    def process(self, batch: SourceBatch) -> Iterator[Any]:
        messages, bad = self._messages.encode(batch, _MAX_BYTES, self._metrics)
        for one in messages:
            attributes = {ID: one.id}
            if one.time != NO_TIME:
                attributes[TIME] = (_EPOCH + timedelta(microseconds=one.time)).isoformat()
            yield PubsubMessage(one.value, attributes)
        if bad:
            yield beam.pvalue.TaggedOutput(_DEAD, bad)


def _write(rows: Sequence[BadRow], uri: str) -> None:
    write_dead_letters(uri, rows)


def _dead_letter(bad: BadRow) -> PubsubMessage:
    """The original bytes, with attributes that say where they came from and what is wrong."""
    attributes = {name: (value or b"").decode()[:_MAX_ATTRIBUTE] for name, value in dead_letter_headers(bad)}
    return PubsubMessage(bad.record[:_MAX_BYTES], attributes)
