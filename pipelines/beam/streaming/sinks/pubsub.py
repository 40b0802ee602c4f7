"""The sink `pubsub:…`: records are embedded and published as they arrive, at least once.

A bundle ends once Pub/Sub has accepted all of its messages; a message that it refuses is a dead letter.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import apache_beam as beam

from encoder.errors import ConfigurationError
from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.sinks.messages import Message, MessageEncoder
from pipelines.beam.streaming.sinks.pubsub_letters import LARGEST, dead_letter, too_long
from pipelines.beam.streaming.sinks.pubsub_requests import AT_ONCE, Publisher, PubSubMessage, request_parts
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.records.bad_rows import ID, BadRow
from pipelines.records.event_time import NO_TIME
from pipelines.sinks.dead_letters import write_dead_letters

__all__ = ["TIME", "PubSubSink"]

TIME = "millstream_time"
"""The attribute with the event time of a record, RFC 3339."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class _Waiting(NamedTuple):
    """A message that is not accepted yet, and the records that it was made of."""

    batch: SourceBatch
    message: Message
    sent: PubSubMessage


class _Publish(beam.DoFn):
    def __init__(self, sink: PubSubSink) -> None:
        self._sink = sink
        self._metrics = BatchMetrics()

    def setup(self) -> None:
        self._publisher = Publisher()

    def teardown(self) -> None:
        self._publisher.close()

    def start_bundle(self) -> None:
        self._waiting: list[_Waiting] = []  # to be sent
        self._sent: deque[tuple[list[_Waiting], Future[dict[int, str]]]] = deque()

    def process(self, batch: SourceBatch) -> Iterator[str]:
        messages, bad = self._sink.messages.encode(batch, LARGEST, self._metrics)
        for one in messages:
            waiting = _Waiting(batch, one, _message(one))
            if reason := too_long(ID, one.id):
                bad += self._bad(waiting, reason)
            else:
                self._waiting.append(waiting)
        self._send_dead_letters(bad)
        self._send(keep_last=True)
        return iter(())

    def finish_bundle(self) -> None:
        self._send(keep_last=False)
        while self._sent:
            self._answer()

    def _send(self, *, keep_last: bool) -> None:
        """Send the messages that wait; the last request may wait for more of them."""
        parts = request_parts([one.sent for one in self._waiting])
        rest = parts.pop()[0] if keep_last and parts else len(self._waiting)
        for first, stop in parts:
            if len(self._sent) == AT_ONCE:
                self._answer()
            some = self._waiting[first:stop]
            answer = self._publisher.publish(self._sink.topic, [one.sent for one in some])
            self._sent.append((some, answer))
        self._waiting = self._waiting[rest:]

    def _answer(self) -> None:
        """Wait for the answer to the request that was sent first."""
        some, answer = self._sent.popleft()
        bad: list[BadRow] = []
        for k, reason in answer.result().items():
            bad += self._bad(some[k], f"Pub/Sub refuses the message: {reason}")
        self._send_dead_letters(bad)

    def _bad(self, one: _Waiting, reason: str) -> list[BadRow]:
        return [one.batch.bad_number(number, reason) for number in self._sink.messages.numbers(one.message)]

    def _send_dead_letters(self, bad: Sequence[BadRow]) -> None:
        bad = self._sink.messages.masked(bad)
        if "://" in self._sink.dead_letters:
            write_dead_letters(self._sink.dead_letters, bad)
            return
        topic = self._sink.dead_letters
        letters = list(map(dead_letter, bad))
        for first, stop in request_parts(letters):
            for reason in self._publisher.publish(topic, letters[first:stop]).result().values():
                raise ConfigurationError(f"pubsub:{topic} refuses a dead letter: {reason}")


def _message(one: Message) -> PubSubMessage:
    attributes = {ID: one.id}
    if one.time != NO_TIME:
        attributes[TIME] = (_EPOCH + timedelta(microseconds=one.time)).isoformat()
    return PubSubMessage(one.value or b"", attributes)
