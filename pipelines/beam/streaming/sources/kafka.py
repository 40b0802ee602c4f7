"""An endless source of the records of a Kafka topic, as record batches, in plain Python.

How far each partition has been read is in the runner's checkpoints and nowhere else: no group is joined, no
offset is committed. A stream that begins anew begins at the first record.
"""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, TopicPartition

from encoder.errors import ConfigurationError, TransientError
from pipelines.beam.streaming.batch import Arrival, Windows
from pipelines.beam.streaming.event_time import OPEN, Watermark, WatermarkPolicy
from pipelines.beam.streaming.interfaces import ArrivalReader, Source
from pipelines.formats import PlainFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import decode_columns
from pipelines.records.bad_rows import BadRow

__all__ = ["KafkaSource", "PartitionRead", "WaitingConsumers"]

_log = logging.getLogger(__name__)
_MESSAGES = 4096
_SECONDS = 0.02  # for more messages to come, if there are fewer
_GONE = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
)


@dataclass(frozen=True)
class KafkaSource(Source):
    """A topic; see `UnboundedSource`.

    Attributes:
        topic: its name.
        partitions: those that are read.
        properties: librdkafka's, of a consumer.
        format: of the values; text is one field, `text`.
        records: the schema of the records.
        windows: how the time of a record is found; a message's own time is its timestamp.
        policy: of the watermark.
        ends: whether the source ends when all that is there has been read.
        readers: how many share the partitions; None is one for each.
    """

    topic: str
    partitions: tuple[int, ...]
    properties: dict[str, str]
    format: PlainFormat
    records: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    ends: bool = False
    readers: int | None = None

    @property
    def place(self) -> str:
        """What the command line calls it."""
        return f"kafka:{self.topic}"

    def split(self, desired_num_splits: int, options: Any = None) -> list["KafkaSource"]:  # noqa: ARG002 - Beam's
        """A source for each reader."""
        n = min(self.readers or len(self.partitions), len(self.partitions))
        return [replace(self, partitions=self.partitions[k::n]) for k in range(n)]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> "KafkaReader":  # noqa: ARG002 - Beam's
        """A reader of the partitions, behind a mark."""
        if isinstance(checkpoint_mark, TopicRead):
            return KafkaReader(self, checkpoint_mark.partitions)
        return KafkaReader(self, [PartitionRead() for _ in self.partitions])

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        """Marks are pickled."""
        return coders.PickleCoder()


@dataclass(frozen=True)
class PartitionRead:
    """How far a partition has been read.

    Attributes:
        offset: of the next message.
        watermark: microseconds since the epoch.
    """

    offset: int = OFFSET_BEGINNING
    watermark: int = OPEN


@dataclass(frozen=True)
class TopicRead(CheckpointMark):
    """How far a reader is.

    Attributes:
        partitions: those of its source, in their order.
    """

    partitions: tuple[PartitionRead, ...]


@dataclass
class _Partition:
    """A partition that is being read.

    Attributes:
        offset: of the next message to hand on.
        watermark: of it alone.
        at_end: whether the broker had no more, when it said something last.
    """

    offset: int
    watermark: Watermark
    at_end: bool = False


class _Live:
    """A consumer with what it has read."""

    def __init__(self, source: "KafkaSource", begin: Sequence[PartitionRead]) -> None:
        self._source = source
        self.partitions = {
            number: _Partition(read.offset, Watermark(source.policy, read.watermark))
            for number, read in zip(source.partitions, begin, strict=True)
        }
        self._ready: deque[tuple[int, list[Any]]] = deque()
        self._consumer: Any = Consumer({**source.properties, "enable.partition.eof": True}, logger=_log)
        self._consumer.assign(
            [TopicPartition(source.topic, number, one.offset) for number, one in self.partitions.items()]
        )

    def next(self) -> tuple[int, list[Any]] | None:
        """The number of a partition and its next messages; None if there are none now."""
        if not self._ready:
            self._poll()
        return self._ready.popleft() if self._ready else None

    def _poll(self) -> None:
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for message in self._consumer.consume(_MESSAGES, _SECONDS):
            if message.error() is not None:
                self._hear(message)
                continue
            number = message.partition()
            partition = self.partitions[number]
            if partition.at_end and self._source.ends:
                continue  # it came after the end
            partition.at_end = False
            found[number].append(message)
        self._ready.extend(found.items())
        for number, partition in self.partitions.items():
            if partition.at_end and number not in found:  # a broker that says nothing is no silent source
                partition.watermark.wait()

    def _hear(self, message: Any) -> None:
        """Take in what is no record: an error, or the end of what is there."""
        error: KafkaError = message.error()
        name = f"{self._source.topic}/{message.partition()}"
        if error.code() == KafkaError._PARTITION_EOF:
            self.partitions[message.partition()].at_end = True
        elif error.code() in _GONE:
            raise ConfigurationError(f"cannot read {name}: {error.str()}")
        elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise TransientError(f"cannot go on reading {name}: {error.str()}")
        else:
            _log.warning("while reading %s: %s", self._source.place, error.str())

    @property
    def has_ended(self) -> bool:
        """Whether everything has been read and handed on, of a source that ends."""
        return self._source.ends and not self._ready and all(p.at_end for p in self.partitions.values())

    def close(self) -> None:
        self._consumer.close()


Place = tuple[Any, ...]
"""What is read, and the offsets of the next messages."""


class WaitingConsumers:
    """By place; a consumer is with one reader or waits here, so two never use one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Place, tuple[object, _Live]] = {}

    def take(self, place: Place) -> _Live | None:
        """The consumer that waits at a place, for the caller alone; None if there is none."""
        with self._lock:
            _, consumer = self._waiting.pop(place, (None, None))
        return consumer

    def leave(self, place: Place, consumer: _Live) -> object:
        """Let a consumer wait at a place; another one that waits there is closed.

        Returns:
            What `drop` wants: whoever takes the consumer may leave it here again.
        """
        left = object()
        with self._lock:
            _, other = self._waiting.pop(place, (None, None))
            self._waiting[place] = left, consumer
        if other is not None:
            other.close()
        return left

    def drop(self, place: Place, left: object) -> None:
        """Close a consumer that was left, unless somebody has taken it since."""
        with self._lock:
            found, consumer = self._waiting.get(place, (None, None))
            if found is left:
                del self._waiting[place]
        if found is left and consumer is not None:
            consumer.close()


_waiting = WaitingConsumers()


class KafkaReader(ArrivalReader):
    """Has a consumer while a bundle lasts, and leaves it to whichever reader goes on from its checkpoint.

    Its watermark is the lowest of its partitions'.

    Args:
        source: whose partitions are read.
        begin: where, for each of them.
    """

    def __init__(self, source: "KafkaSource", begin: Sequence[PartitionRead]) -> None:
        super().__init__()
        self._source = source
        self._decoder = JsonDecoder(source.place, source.records) if source.format == "json" else None
        self._read = tuple(begin)
        self._live: _Live | None = None
        self._left: object = None
        self._what = tuple(sorted(source.properties.items())), source.topic, source.partitions

    @property
    def _place(self) -> Place:
        return *self._what, tuple(read.offset for read in self._read)

    @property
    def _micros(self) -> int:
        return min(read.watermark for read in self._read)

    def advance(self) -> bool:
        self._current = None
        if self._live is None:
            self._live = _waiting.take(self._place) or _Live(self._source, self._read)
        live = self._live
        found = live.next()
        if found is not None:
            number, messages = found
            self._current = self._arrival(number, messages)
            live.partitions[number].offset = messages[-1].offset() + 1
            live.partitions[number].watermark.see(self._current.latest)
        self._read = tuple(PartitionRead(p.offset, p.watermark.micros) for p in live.partitions.values())
        self._ended = live.has_ended
        return found is not None

    def _arrival(self, number: int, messages: list[Any]) -> Arrival:
        name = f"{self._source.topic}/{number}"
        values = [message.value() for message in messages]
        offsets = np.array([message.offset() for message in messages], np.int64)
        own = np.array([_micros(message) for message in messages], np.int64)
        found = decode_columns(values, self._source.format, self._source.records, self._decoder)
        rows = np.array(found.rows, np.int64)
        bad = tuple(
            BadRow(name, int(offsets[row]), reason, values[row] or b"")
            for row, reason in sorted(found.bad.items())
        )
        times = self._source.windows.times(found.batch, own[rows])
        keys = tuple(messages[row].key() for row in found.rows)
        return Arrival(name, found.batch, offsets[rows], times, bad, self._micros, int(own.max()), keys)

    def get_checkpoint_mark(self) -> TopicRead:
        if self._live is not None:
            self._left = _waiting.leave(self._place, self._live)
            self._live = None
        return TopicRead(self._read)

    def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None
        elif self._left is not None:  # Beam closes readers that it has forgotten, long after
            _waiting.drop(self._place, self._left)


def _micros(message: Any) -> int:
    """When a message was written, microseconds since the epoch; the epoch itself if it does not say."""
    kind, milliseconds = message.timestamp()
    return 0 if kind == TIMESTAMP_NOT_AVAILABLE else int(milliseconds) * 1000
