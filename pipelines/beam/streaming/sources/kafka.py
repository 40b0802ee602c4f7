"""The source `kafka:TOPIC`: the records of a topic in batches, in plain Python.

Only the runner's checkpoints say how far each partition has been read: the source joins no consumer group and
commits no offsets. A stream that is restarted without a checkpoint starts at the first record.
"""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.io.unbounded_source import CheckpointMark
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from numpy.typing import NDArray

from encoder.errors import ConfigurationError, TransientError
from encoder.store.objects import Objects
from pipelines.beam.streaming.batch import SourceBatch, Windows
from pipelines.beam.streaming.event_time import EARLIEST, LATEST, OPEN, Watermark, WatermarkPolicy
from pipelines.beam.streaming.interfaces import BatchReader, PolledSource
from pipelines.beam.streaming.sources.kafka_topic import topic_guard
from pipelines.beam.transforms.metrics import report_left_out
from pipelines.formats import PlainFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import decode_columns
from pipelines.kafka.messages import NO_TIMESTAMP, deletes_among, envelope_of, headers_of
from pipelines.kafka.topic_ids import TopicId
from pipelines.records.bad_rows import BadRow
from pipelines.sinks.input_claim import InputClaim

__all__ = ["IdleConsumers", "KafkaSource", "PartitionRead"]

_log = logging.getLogger(__name__)
_MAX_MESSAGES = 4096
_POLL_SECONDS = 0.02  # how long to wait for more messages
_FATAL = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
)

Position = tuple[Any, ...]
"""What a consumer reads, and the offsets of its next messages."""


@dataclass(frozen=True)
class KafkaSource(PolledSource):
    """A topic.

    Attributes:
        topic: its name.
        partitions: the partitions to read.
        properties: librdkafka's properties of a consumer.
        format: the format of values; `text` gives one field, `text`.
        schema: the schema of the records.
        windows: windows of event time; a message's own time is its timestamp.
        policy: how readers set their watermark.
        ends: whether the source ends once everything that is there has been read.
        readers: how many readers share the partitions; None means one for each.
        all_fields: whether the columns were meant to hold all fields: values of others are counted.
        topic_id: what the topic's name stood for when the stream was planned; None if that is not known.
    """

    topic: str
    partitions: tuple[int, ...]
    properties: dict[str, str]
    format: PlainFormat
    schema: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    ends: bool = False
    readers: int | None = None
    all_fields: bool = False
    topic_id: TopicId | None = None

    @property
    def uri(self) -> str:
        """`kafka:TOPIC`."""
        return f"kafka:{self.topic}"

    def claim(self, objects: Objects, *, accept: bool) -> tuple["KafkaSource", dict[str, str]]:
        """Claim a folder for this topic."""
        if self.topic_id is None:
            return self, {}
        claim = InputClaim.look_at(objects, self.topic, self.topic_id, accept=accept).take()
        return self, claim.metadata

    def divide(self) -> list["KafkaSource"]:
        """One source for each parallel reader."""
        n = min(self.readers or len(self.partitions), len(self.partitions))
        return [replace(self, partitions=self.partitions[k::n]) for k in range(n)]

    def reader(self, checkpoint: CheckpointMark | None) -> "_Reader":
        """A reader that continues from a checkpoint, or starts at the beginning."""
        if isinstance(checkpoint, TopicRead):
            return _Reader(self, checkpoint.partitions)
        return _Reader(self, [PartitionRead() for _ in self.partitions])


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


@dataclass(frozen=True)
class TopicRead(CheckpointMark):
    """How far a reader has read each partition of its source, in the source's order."""

    partitions: tuple[PartitionRead, ...]


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


class _PartitionConsumer:
    """A consumer, and the messages that it has fetched."""

    def __init__(self, source: KafkaSource, start: Sequence[PartitionRead]) -> None:
        self._source = source
        self.partitions = {
            number: _Partition(read.offset, Watermark(source.policy, read.watermark), read.epoch)
            for number, read in zip(source.partitions, start, strict=True)
        }
        self._fetched: deque[tuple[int, list[Any]]] = deque()
        self._lost: set[int] = set()  # partitions whose log does not have their position
        self._guard = topic_guard(source.topic, source.topic_id, tuple(sorted(source.properties.items())))
        self._guard.check()
        own = {"enable.partition.eof": True, "auto.offset.reset": "error"}
        self._consumer: Any = Consumer({**source.properties, **own}, logger=_log)
        self._consumer.assign(
            [TopicPartition(source.topic, number, one.offset) for number, one in self.partitions.items()]
        )

    def next(self) -> tuple[int, list[Any]] | None:
        """A partition and its next messages; None if there are none now."""
        if not self._fetched:
            self._poll()
        return self._fetched.popleft() if self._fetched else None

    def _poll(self) -> None:
        self._guard.check()
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for message in self._consumer.consume(_MAX_MESSAGES, _POLL_SECONDS):
            if message.error() is not None:
                self._handle(message)
                continue
            number = message.partition()
            partition = self.partitions[number]
            if partition.at_end and self._source.ends:
                continue  # it arrived after the end
            partition.at_end = False
            found[number].append(message)
        self._fetched.extend(found.items())
        for number in self._lost - {number for number, _ in self._fetched}:
            self._follow_reset(number)
        for number, partition in self.partitions.items():
            if partition.at_end and number not in found:  # a partition is not idle while its broker is silent
                partition.watermark.observe_nothing()

    def _follow_reset(self, number: int) -> None:
        """Read a partition on where its log is."""
        partition = self.partitions[number]
        partition.offset, is_cut = self._guard.after_reset(self._consumer, number, partition.offset)
        partition.epoch += is_cut
        parts = [TopicPartition(self._source.topic, number, partition.offset)]
        self._consumer.incremental_unassign(parts)  # without a position, a partition cannot seek
        self._consumer.incremental_assign(parts)
        self._lost.discard(number)

    def _handle(self, message: Any) -> None:
        """Handle an error, or the end of a partition."""
        error: KafkaError = message.error()
        name = f"{self._source.topic}/{message.partition()}"
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
            _log.warning("while reading %s: %s", self._source.uri, error.str())

    @property
    def has_ended(self) -> bool:
        """Whether a source that ends has been read completely."""
        return self._source.ends and not self._fetched and all(p.at_end for p in self.partitions.values())

    def close(self) -> None:
        self._consumer.close()


class IdleConsumers:
    """Consumers of this process that no reader uses, kept for the reader that continues at their position.

    Beam keeps a reader between bundles in the `DoFn` that created it. Where bundles overlap, another `DoFn`
    often has the next bundle. Its reader would connect again and find nothing in the short time that it has,
    and so would the one after it: on a busy machine, a stream then stops reading and holds hundreds of
    connections.

    A consumer is either with one reader or here, so two readers never share one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Position, tuple[object, _PartitionConsumer]] = {}

    def take(self, position: Position) -> _PartitionConsumer | None:
        """Remove and return the consumer at a position; None if there is none."""
        with self._lock:
            _, consumer = self._idle.pop(position, (None, None))
        return consumer

    def leave(self, position: Position, consumer: _PartitionConsumer) -> object:
        """Keep a consumer; one that is at the position already is closed.

        Returns:
            A token for `drop`.
        """
        token = object()
        with self._lock:
            _, other = self._idle.pop(position, (None, None))
            self._idle[position] = token, consumer
        if other is not None:
            other.close()
        return token

    def drop(self, position: Position, token: object) -> None:
        """Close the consumer that `leave` returned the token for, unless a reader has taken it since."""
        with self._lock:
            found, consumer = self._idle.get(position, (None, None))
            if found is token:
                del self._idle[position]
        if found is token and consumer is not None:
            consumer.close()


_idle = IdleConsumers()


class _Reader(BatchReader):
    """Has a consumer while a bundle lasts, and leaves it to the reader that continues from its checkpoint.

    Its watermark is the lowest of its partitions' watermarks.

    Args:
        source: the source whose partitions it reads.
        start: where to start, for each of them.
    """

    def __init__(self, source: KafkaSource, start: Sequence[PartitionRead]) -> None:
        super().__init__()
        self._source = source
        self._decoder: JsonDecoder | None = None
        if source.format == "json":
            self._decoder = JsonDecoder(source.uri, source.schema, all_fields=source.all_fields)
        self._read = tuple(start)
        self._consumer: _PartitionConsumer | None = None
        self._token: object = None
        self._topic = tuple(sorted(source.properties.items())), source.topic, source.partitions

    @property
    def _position(self) -> Position:
        return *self._topic, tuple((read.offset, read.epoch) for read in self._read)

    @property
    def _watermark_micros(self) -> int:
        return min(read.watermark for read in self._read)

    def advance(self) -> bool:
        self._current = None
        if self._consumer is None:
            self._consumer = _idle.take(self._position) or _PartitionConsumer(self._source, self._read)
        consumer = self._consumer
        found = consumer.next()
        if found is not None:
            number, messages = found
            self._current = self._batch(number, messages)
            consumer.partitions[number].offset = messages[-1].offset() + 1
            consumer.partitions[number].watermark.observe(self._current.latest)
        self._read = tuple(
            PartitionRead(p.offset, p.watermark.micros, p.epoch) for p in consumer.partitions.values()
        )
        self._ended = consumer.has_ended
        return found is not None

    def _batch(self, number: int, messages: list[Any]) -> SourceBatch:
        name = f"{self._source.topic}/{number}"
        stamps = np.array([message.timestamp()[1] for message in messages], np.int64)
        ingested = int(_micros(stamps).max())
        deletes: tuple[BadRow, ...] = ()
        if deleted := deletes_among(messages):
            deletes = tuple(_delete(name, messages[row]) for row in deleted)
            live = np.delete(np.arange(len(messages)), deleted)
            messages, stamps = [messages[row] for row in live], stamps[live]
        values = [message.value() for message in messages]
        offsets = np.array([message.offset() for message in messages], np.int64)
        found = decode_columns(values, self._source.format, self._source.schema, self._decoder)
        if self._decoder is not None and self._decoder.left_out is not None:
            report_left_out(self._decoder.left_out.take())
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
            self._source.windows.event_times(found.batch, _micros(stamps[rows])),
            bad,
            self._watermark_micros,
            ingested,
            keys=tuple(message.key() for message in good),
            values=tuple(message.value() for message in good),
            headers=headers,
            timestamps=stamps[rows],
            deletes=deletes,
            version=self._version(number),
        )
        return batch.without(unreadable).timely(self._source.policy.latest())

    def _version(self, number: int) -> str:
        """Tells the rows of a partition from those that had their offsets before."""
        epoch = 0 if self._consumer is None else self._consumer.partitions[number].epoch
        topic = self._source.topic_id.short if self._source.topic_id else ""
        return f"{topic}-{epoch}" if epoch else topic

    def get_checkpoint_mark(self) -> TopicRead:
        if self._consumer is not None:
            self._token = _idle.leave(self._position, self._consumer)
            self._consumer = None
        return TopicRead(self._read)

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        elif self._token is not None:  # Beam closes readers long after it has forgotten them
            _idle.drop(self._position, self._token)


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
