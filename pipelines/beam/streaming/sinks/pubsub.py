"""The sink `pubsub:…`: records are embedded and published as they arrive, at least once.

A bundle ends once Pub/Sub has accepted all of its messages. Beam's own sink cannot be used: it publishes many
messages in one request, which Pub/Sub refuses as a whole, so one message would be repeated for ever with its
neighbours. What is refused here is published again alone, and a message that is refused alone is a dead
letter.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from google.api_core.exceptions import GoogleAPIError, InvalidArgument, NotFound, PermissionDenied
from google.cloud import pubsub

from encoder.errors import ConfigurationError, TransientError
from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.event_time import NO_TIME
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.sinks.messages import Message, MessageEncoder
from pipelines.beam.streaming.sinks.pubsub_letters import LARGEST, dead_letter, too_long
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.records.bad_rows import ID, BadRow, one_line
from pipelines.sinks.dead_letters import write_dead_letters

__all__ = ["TIME", "PubSubSink"]

TIME = "millstream_time"
"""The attribute with the event time of a record, RFC 3339."""

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_WAITING, _MAX_BYTES = 16_384, 64 << 20  # messages, and their bytes, before their answers are waited for
_ANSWER_SECONDS = 300


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
        """Publish messages and dead letters; the PCollection that it returns is empty."""
        return batches | "Publish" >> beam.ParDo(_Publish(self)).with_output_types(str)


@dataclass(frozen=True)
class _Waiting:
    """A message whose answer is waited for."""

    batch: SourceBatch
    message: Message
    answer: Any


class _Publish(beam.DoFn):
    def __init__(self, sink: PubSubSink) -> None:
        self._sink = sink
        self._metrics = BatchMetrics()

    def setup(self) -> None:
        self._together = pubsub.PublisherClient()
        self._alone = pubsub.PublisherClient(pubsub.types.BatchSettings(max_messages=1))

    def teardown(self) -> None:
        for client in (self._together, self._alone):
            client.stop()
            client.transport.close()

    def start_bundle(self) -> None:
        self._waiting: list[_Waiting] = []
        self._n_bytes = 0

    def process(self, batch: SourceBatch) -> Iterator[str]:
        messages, bad = self._sink.messages.encode(batch, LARGEST, self._metrics)
        for one in messages:
            if reason := too_long(ID, one.id):
                bad += [batch.bad_number(row, reason) for row in self._sink.messages.numbers(one)]
                continue
            self._n_bytes += len(one.value or b"")
            self._waiting.append(_Waiting(batch, one, self._send(self._together, one)))
        self._send_dead_letters(bad)
        if len(self._waiting) > _MAX_WAITING or self._n_bytes > _MAX_BYTES:
            self._flush()
        return iter(())

    def finish_bundle(self) -> None:
        self._flush()

    def _send(self, client: Any, message: Message) -> Any:
        attributes = {ID: message.id}
        if message.time != NO_TIME:
            attributes[TIME] = (_EPOCH + timedelta(microseconds=message.time)).isoformat()
        return client.publish(self._sink.topic, message.value, **attributes)

    def _flush(self) -> None:
        """Wait until Pub/Sub has accepted all messages; what it refuses together is published alone."""
        waiting, self._waiting, self._n_bytes = self._waiting, [], 0
        refused = [one for one in waiting if self._refusal(one.answer, self._sink.uri)]
        if not refused:
            return
        _log.warning("%s refuses a request: publishing %d messages alone", self._sink.uri, len(refused))
        again = [(one, self._send(self._alone, one.message)) for one in refused]
        bad: list[BadRow] = []
        for one, answer in again:
            if reason := self._refusal(answer, self._sink.uri):
                rows = self._sink.messages.numbers(one.message)
                bad += [one.batch.bad_number(row, f"Pub/Sub refuses the message: {reason}") for row in rows]
        self._send_dead_letters(bad)

    def _send_dead_letters(self, bad: Sequence[BadRow]) -> None:
        if "://" in self._sink.dead_letters:
            write_dead_letters(self._sink.dead_letters, bad)
            return
        topic = self._sink.dead_letters
        letters: Iterable[PubsubMessage] = map(dead_letter, bad)
        answers = [self._alone.publish(topic, one.data, **one.attributes) for one in letters]
        for answer in answers:
            if reason := self._refusal(answer, f"pubsub:{topic}"):
                raise ConfigurationError(f"pubsub:{topic} refuses a dead letter: {reason}")

    @staticmethod
    def _refusal(answer: Any, uri: str) -> str | None:
        """Why Pub/Sub refuses a message; None if it has accepted it."""
        try:
            answer.result(_ANSWER_SECONDS)
        except InvalidArgument as error:
            return one_line(error)
        except (NotFound, PermissionDenied) as error:
            raise ConfigurationError(f"cannot publish to {uri}: {one_line(error)}") from error
        except (GoogleAPIError, TimeoutError) as error:
            raise TransientError(f"cannot publish to {uri}: {one_line(error)}") from error
        return None
