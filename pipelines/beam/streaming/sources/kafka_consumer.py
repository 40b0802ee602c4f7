"""The consumer of the source `kafka:TOPIC`: messages of some partitions, a few MiB at a time."""

import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from encoder.errors import ConfigurationError, TransientError
from pipelines.beam.streaming.sources.kafka_topic import TopicGuard
from pipelines.beam.streaming.watermark import OPEN, Watermark, WatermarkPolicy
from pipelines.kafka.messages import byte_parts

__all__ = ["PartitionConsumer", "PartitionRead"]

_log = logging.getLogger(__name__)
_MAX_MESSAGES = 4096
_FIRST_MESSAGES = 4  # until their size is known
_PART_BYTES = 1 << 20  # of values in a batch: as Python objects they take up to 25 times as much
_POLL_SECONDS = 0.02  # how long to wait for more messages
_FATAL = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
)


@dataclass(frozen=True)
class PartitionRead:
    """How far a partition has been read.

    Attributes:
        offset: the offset of the next message.
        watermark: microseconds since the epoch.
        epoch: how often the log had been cut below what was read, so that offsets came again.
    """

    offset: int = OFFSET_BEGINNING
    watermark: int = OPEN
    epoch: int = 0


@dataclass
class _Partition:
    """A partition that is being read.

    Attributes:
        offset: the offset of the next message to return.
        watermark: its own watermark.
        epoch: how often offsets came again.
        at_end: whether the broker had no more messages when it answered last.
    """

    offset: int
    watermark: Watermark
    epoch: int
    at_end: bool = False


class PartitionConsumer:
    """A consumer of some partitions, and the messages that it has fetched.

    Args:
        topic: the topic's name.
        guard: whether it is still the same.
        properties: librdkafka's properties.
        policy: how the watermarks of partitions follow their records.
        start: where to start, for each partition.
        ends: whether to stop at the end of each partition.
        one_by_one: whether to give one message at a time, as each has many records.

    Attributes:
        partitions: how far each partition has been read; whoever takes messages moves it on.
    """

    def __init__(
        self,
        topic: str,
        guard: TopicGuard,
        properties: Mapping[str, str],
        policy: WatermarkPolicy,
        start: Mapping[int, PartitionRead],
        *,
        ends: bool,
        one_by_one: bool = False,
    ) -> None:
        self._topic = topic
        self._ends = ends
        self._most_bytes = 0 if one_by_one else _PART_BYTES
        self.partitions = {
            number: _Partition(read.offset, Watermark(policy, read.watermark), read.epoch)
            for number, read in start.items()
        }
        self._n_next = _FIRST_MESSAGES
        self._fetched: deque[tuple[int, list[Any]]] = deque()
        self._lost: set[int] = set()  # partitions whose log does not have their position
        self._guard = guard
        self._guard.check()
        own = {"enable.partition.eof": True, "auto.offset.reset": "error"}
        self._consumer: Any = Consumer({**properties, **own}, logger=_log)
        self._consumer.assign(
            [TopicPartition(topic, number, one.offset) for number, one in self.partitions.items()]
        )

    def next(self) -> tuple[int, list[Any]] | None:
        """A partition and its next messages; None if there are none now."""
        if not self._fetched:
            self._poll()
        return self._fetched.popleft() if self._fetched else None

    def _poll(self) -> None:
        self._guard.check()
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for message in self._consumer.consume(self._n_next, _POLL_SECONDS):
            if message.error() is not None:
                self._handle(message)
                continue
            number = message.partition()
            partition = self.partitions[number]
            if partition.at_end and self._ends:
                continue  # it arrived after the end
            partition.at_end = False
            found[number].append(message)
        for number, messages in found.items():
            parts = byte_parts(list(map(len, messages)), self._most_bytes)
            self._fetched.extend((number, messages[first:stop]) for first, stop in parts)
        self._set_next(list(chain.from_iterable(found.values())))
        for number in self._lost - {number for number, _ in self._fetched}:
            self._follow_reset(number)
        for number, partition in self.partitions.items():
            if partition.at_end and number not in found:  # a partition is not idle while its broker is silent
                partition.watermark.observe_nothing()

    def _set_next(self, messages: Sequence[Any]) -> None:
        """Choose how many messages to take next, by the size of these."""
        if messages:
            n_bytes = sum(map(len, messages))
            fit = len(messages) * _PART_BYTES // max(n_bytes, 1)
            self._n_next = min(max(1, fit), 2 * self._n_next, _MAX_MESSAGES)

    def _follow_reset(self, number: int) -> None:
        """Read a partition on where its log is."""
        partition = self.partitions[number]
        partition.offset, is_cut = self._guard.after_reset(self._consumer, number, partition.offset)
        partition.epoch += is_cut
        parts = [TopicPartition(self._topic, number, partition.offset)]
        self._consumer.incremental_unassign(parts)  # without a position, a partition cannot seek
        self._consumer.incremental_assign(parts)
        self._lost.discard(number)

    def _handle(self, message: Any) -> None:
        """Handle an error, or the end of a partition."""
        error: KafkaError = message.error()
        name = f"{self._topic}/{message.partition()}"
        if error.code() == KafkaError._PARTITION_EOF:
            self.partitions[message.partition()].at_end = True
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._lost.add(message.partition())
        elif error.code() in _FATAL:
            self._guard.check(now=True)  # deleted, or created again?
            raise ConfigurationError(f"cannot read {name}: {error.str()}")
        elif error.fatal():
            raise TransientError(f"cannot continue to read {name}: {error.str()}")
        else:
            _log.warning("while reading %s: %s", f"kafka:{self._topic}", error.str())

    @property
    def has_ended(self) -> bool:
        """Whether a source that ends has been read completely."""
        return self._ends and not self._fetched and all(p.at_end for p in self.partitions.values())

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
