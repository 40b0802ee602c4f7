"""The sink `kafka:TOPIC`: records are embedded and sent as they arrive, at least once.

A bundle ends once the brokers have acknowledged all of its messages; if one fails, the bundle fails and the
runner repeats it. The messages of a repeated bundle may be in the topic twice, because Beam's Python workers
have no transactions across a checkpoint. Both copies have the same header `millstream_id`, so consumers can
drop the second one. `millstream worker` sends each message once.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from confluent_kafka import KafkaError, KafkaException, Producer

from encoder.errors import ConfigurationError, TransientError
from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.sinks.messages import Message, MessageEncoder
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.kafka.messages import KAFKA_LIMITS, TimeLimits
from pipelines.records.bad_rows import ID, BadRow
from pipelines.sinks.dead_letter_messages import bad_row_message
from pipelines.sinks.dead_letters import write_dead_letters
from pipelines.sinks.kafka import Headers, TopicSink
from pipelines.sinks.refusals import REFUSED

__all__ = ["KafkaSink", "KafkaTopic"]

_log = logging.getLogger(__name__)
_MAX_QUEUED = 16_384  # messages that wait for the brokers before more are encoded
_MAX_BYTES = 64 << 20  # the same in bytes of messages
_POLL_SECONDS = 1.0
_HOPELESS = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_OVERHEAD = 1024  # bytes for the key, the header and the batch around a message


@dataclass(frozen=True)
class KafkaTopic:
    """A topic to write to.

    Attributes:
        name: its name.
        max_bytes: the largest message that it accepts.
        limits: the timestamps that it accepts.
    """

    name: str
    max_bytes: int
    limits: TimeLimits = KAFKA_LIMITS

    def open(self, producer: Any) -> TopicSink:
        """Give it a producer."""
        return TopicSink(producer, self.name, self.max_bytes, self.limits)


@dataclass(frozen=True)
class KafkaSink(Sink):
    """A topic.

    Attributes:
        topic: where records go.
        dead_letters: where bad rows go: a topic of the same brokers, or the URI of a folder.
        properties: librdkafka's properties of a producer.
        messages: how messages are encoded.
    """

    topic: KafkaTopic
    dead_letters: KafkaTopic | str
    properties: dict[str, str]
    messages: MessageEncoder

    @property
    def uri(self) -> str:
        """`kafka:TOPIC`."""
        return f"kafka:{self.topic.name}"

    def write(self, batches: Any) -> Any:
        """Send messages and dead letters; the PCollection that it returns is empty."""
        return batches | "Send" >> beam.ParDo(_Send(self)).with_output_types(str)


class _Send(beam.DoFn):
    def __init__(self, sink: KafkaSink) -> None:
        self._sink = sink
        self._metrics = BatchMetrics()
        self._failed: KafkaError | None = None
        self._limit = sink.topic.max_bytes - _OVERHEAD  # bytes of a value and the name of its source

    def setup(self) -> None:
        ours = {"on_delivery": self._on_delivery, "delivery.report.only.error": True}
        self._producer: Any = Producer({**self._sink.properties, **ours}, logger=_log)
        self._topic = self._sink.topic.open(self._producer)
        dead = self._sink.dead_letters
        self._dead = None if isinstance(dead, str) else dead.open(self._producer)

    def _on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        self._failed = error or self._failed

    def start_bundle(self) -> None:
        self._failed = None
        self._unacknowledged: list[SourceBatch] = []
        self._n_bytes = 0  # sent since the last flush

    def process(self, batch: SourceBatch) -> Iterator[str]:
        self._unacknowledged.append(batch)
        messages, bad = self._encode(batch)
        try:
            self._send(messages)
            self._send_dead_letters(bad)
        except KafkaException as error:
            self._failed = error.args[0]
        self._n_bytes += batch.records.nbytes + sum(len(one.value or b"") for one in messages)
        if self._failed is not None or len(self._producer) > _MAX_QUEUED or self._n_bytes > _MAX_BYTES:
            self._flush()
        return iter(())

    def _encode(self, batch: SourceBatch) -> tuple[list[Message], list[BadRow]]:
        return self._sink.messages.encode(batch, self._limit - len(batch.source), self._metrics)

    def _send(self, messages: Sequence[Message]) -> None:
        headers: list[Headers] = [[*one.headers, (ID, one.id.encode())] for one in messages]
        self._topic.send(
            [one.value for one in messages],
            [one.key for one in messages],
            headers,
            [one.timestamp for one in messages],
        )

    def _send_dead_letters(self, bad: Sequence[BadRow]) -> None:
        bad = self._sink.messages.masked(bad)
        if self._dead is None:
            write_dead_letters(str(self._sink.dead_letters), bad)
        elif bad:
            self._dead.send(*zip(*(bad_row_message(one, self._dead) for one in bad), strict=True))

    def finish_bundle(self) -> None:
        self._flush()

    def _flush(self) -> None:
        """Wait until all messages are acknowledged; librdkafka has a time limit for each."""
        failed, batches = self._acknowledged(), self._unacknowledged
        self._unacknowledged, self._n_bytes = [], 0
        if failed is None:
            return
        if failed.code() not in REFUSED:
            raise self._error(failed)
        _log.warning("%s refuses a message (%s): sending one by one", self._sink.uri, failed.str())
        for batch in batches:
            self._send_dead_letters(self._send_one_by_one(batch))
            if (failed := self._acknowledged()) is not None:
                raise self._error(failed, "the dead letters of")

    def _acknowledged(self) -> KafkaError | None:
        """Wait for all messages; the error of one that failed, after which none is left."""
        while self._failed is None and self._producer.flush(_POLL_SECONDS):
            pass
        failed = self._failed
        if failed is not None and len(self._producer):
            self._producer.purge()
            while self._producer.flush(_POLL_SECONDS):
                pass
        self._failed = None
        return failed

    def _send_one_by_one(self, batch: SourceBatch) -> list[BadRow]:
        """Send a batch again; the bad rows, and the records of messages that are refused alone."""
        messages, bad = self._encode(batch)
        for message in messages:
            try:
                self._send([message])
            except KafkaException as error:
                self._failed = error.args[0]
            if (failed := self._acknowledged()) is None:
                continue
            if failed.code() not in REFUSED:
                raise self._error(failed)
            if failed.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._limit = min(self._limit, len(message.value or b"") + len(batch.source) - 1)
            numbers = self._sink.messages.numbers(message)
            if len(numbers) == 1 or failed.code() == KafkaError.INVALID_RECORD:  # it lacks a key
                why = f"the topic refuses the message: {failed.str()}"
                bad += [batch.bad_number(number, why) for number in numbers]
                continue
            for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
                bad += self._send_one_by_one(batch.select(set(half)))
        return bad

    def _error(self, reason: KafkaError, what: str = "to") -> Exception:
        text = f"cannot write {what} {self._sink.uri}: {reason.str()}"
        return ConfigurationError(text) if reason.code() in _HOPELESS | REFUSED else TransientError(text)
