"""The output `kafka:TOPIC` of streaming jobs: records are embedded and sent as they come, at least once.

A bundle ends when the brokers have acknowledged all of its messages; if one is not, the bundle fails and the
runner repeats it. Messages of a bundle that is repeated may be there twice: Beam's workers in Python have no
transactions across a checkpoint. Their header `millstream_id` is the same, so that a reader can drop the
second one; `millstream worker` sends each once.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from confluent_kafka import KafkaError, KafkaException, Producer

from encoder.errors import ConfigurationError, TransientError
from pipelines.beam.streaming.batch import Arrival
from pipelines.beam.streaming.interfaces import Output
from pipelines.beam.streaming.sinks.messages import Message, Messages
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.records.bad_rows import ID, BadRow
from pipelines.sinks.dead_letter_messages import dead_letter_headers
from pipelines.sinks.dead_letters import bad_row_id, write_dead_letters
from pipelines.sinks.kafka import TopicSink

__all__ = ["KafkaOutput", "KafkaTopic"]

_log = logging.getLogger(__name__)
_WAITING = 16_384  # messages that may wait for the brokers before more are made
_SECONDS = 1.0
_OVERHEAD = 1024  # bytes for the key, the header and the batch around a message


@dataclass(frozen=True)
class KafkaTopic:
    """A topic to write.

    Attributes:
        name: of it.
        max_bytes: what it takes as a message.
    """

    name: str
    max_bytes: int


@dataclass(frozen=True)
class KafkaOutput(Output):
    """A topic.

    Attributes:
        topic: for records.
        letters: where bad rows go: a topic of the same brokers, or the URI of a folder.
        properties: librdkafka's, of a producer.
        messages: how they are made.
    """

    topic: KafkaTopic
    letters: KafkaTopic | str
    properties: dict[str, str]
    messages: Messages

    @property
    def place(self) -> str:
        """See `Output`."""
        return f"kafka:{self.topic.name}"

    def write(self, arrivals: Any) -> Any:
        """Gives nothing."""
        return arrivals | "Send" >> beam.ParDo(_Send(self)).with_output_types(str)


class _Send(beam.DoFn):
    def __init__(self, output: KafkaOutput) -> None:
        self._output = output
        self._metrics = BatchMetrics()
        self._failed: KafkaError | None = None

    def setup(self) -> None:
        ours = {"on_delivery": self._on_delivery, "delivery.report.only.error": True}
        self._producer: Any = Producer({**self._output.properties, **ours}, logger=_log)
        self._sink = TopicSink(self._producer, self._output.topic.name, self._output.topic.max_bytes)

    def _on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        self._failed = error or self._failed

    def start_bundle(self) -> None:
        self._failed = None

    def process(self, arrival: Arrival) -> Iterator[str]:
        limit = self._output.topic.max_bytes - _OVERHEAD - len(arrival.source)
        made, bad = self._output.messages.make(arrival, limit, self._metrics)
        try:
            self._send(made)
            self._send_letters(bad)
        except KafkaException as error:
            raise self._stop(error.args[0]) from error
        if len(self._producer) > _WAITING:
            self._flush()
        return iter(())

    def _send(self, made: Sequence[Message]) -> None:
        headers: list[list[tuple[str, bytes | None]]] = [[(ID, one.id.encode())] for one in made]
        self._sink.send([one.value for one in made], [one.key for one in made], headers)

    def _send_letters(self, bad: Sequence[BadRow]) -> None:
        letters = self._output.letters
        if isinstance(letters, str):
            write_dead_letters(letters, bad)
            return
        for one in bad:
            value = one.record if len(one.record) < letters.max_bytes - 2 * _OVERHEAD else None
            self._producer.produce(
                letters.name, value, bad_row_id(one).encode(), headers=dead_letter_headers(one)
            )

    def finish_bundle(self) -> None:
        self._flush()

    def _flush(self) -> None:
        """Wait until everything is acknowledged; each message has its own time limit in librdkafka."""
        while self._producer.flush(_SECONDS) and self._failed is None:
            pass
        if self._failed is not None:
            self._producer.purge()
            self._producer.flush(_SECONDS)
            raise self._stop(self._failed)

    def _stop(self, reason: KafkaError) -> Exception:
        text = f"not written to {self._output.place}: {reason.str()}"
        gone = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
        return ConfigurationError(text) if reason.code() in gone else TransientError(text)
