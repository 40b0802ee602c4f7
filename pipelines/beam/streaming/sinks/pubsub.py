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
from pipelines.kafka.messages import TIMESTAMP
from pipelines.records.bad_rows import ID, BadRow, Envelope
from pipelines.sinks.dead_letter_messages import dead_letter_headers
from pipelines.sinks.dead_letters import write_dead_letters

__all__ = ["KEY", "TIME", "PubSubSink"]

TIME = "millstream_time"
"""The attribute with the event time of a record, RFC 3339."""

KEY = "millstream_key"
"""The attribute of a dead letter with the key of its Kafka message."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BYTES = 9_900_000  # Pub/Sub accepts 10 MB, attributes included
_MAX_ATTRIBUTE, _MAX_NAME = 1024, 256  # bytes that Pub/Sub accepts
_MAX_ATTRIBUTES = 100
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
    envelope = bad.envelope or Envelope()
    about = [*dead_letter_headers(bad), *envelope.headers]
    if envelope.key is not None:
        about.insert(0, (KEY, envelope.key))
    if envelope.timestamp is not None:
        about.insert(0, (TIMESTAMP, b"%d" % envelope.timestamp))
    # Of several headers with one name the first is kept: what Millstream says, and then the record's own.
    attributes = {
        name: _cut(value or b"", _MAX_ATTRIBUTE)
        for name, value in reversed(about[:_MAX_ATTRIBUTES])
        if 0 < len(name.encode()) <= _MAX_NAME
    }
    return PubsubMessage((bad.record or b"")[:_MAX_BYTES], attributes)


def _cut(value: bytes, n_bytes: int) -> str:
    """A value as text of at most so many bytes."""
    return value.decode("utf-8", "backslashreplace").encode()[:n_bytes].decode("utf-8", "ignore")
