"""The source `kafka:TOPIC`: the records of a topic in batches, in plain Python.

Only the runner's checkpoints say how far each partition has been read: the source joins no consumer group and
commits no offsets. A stream that is restarted without a checkpoint starts at the first record.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from apache_beam.io.unbounded_source import CheckpointMark

from encoder.store.objects import Objects
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.interfaces import BatchReader, PolledSource
from pipelines.beam.streaming.sources.idle_consumers import IdleConsumers, Position
from pipelines.beam.streaming.sources.kafka_batch import BatchDecoder
from pipelines.beam.streaming.sources.kafka_consumer import PartitionConsumer, PartitionRead
from pipelines.beam.streaming.sources.kafka_topic import topic_guard
from pipelines.beam.streaming.sources.topic_claim import TopicClaim
from pipelines.beam.streaming.watermark import WatermarkPolicy
from pipelines.formats import StreamInputFormat
from pipelines.kafka.topic_ids import TopicId
from pipelines.sinks.input_claim import InputClaim

__all__ = ["KafkaSource", "PartitionRead", "TopicRead"]


@dataclass(frozen=True)
class KafkaSource(PolledSource):
    """A topic.

    Attributes:
        topic: its name.
        partitions: the partitions to read.
        properties: librdkafka's properties of a consumer.
        format: the format of values; `text` gives one field, `text`, and `arrow` messages have many records.
        schema: the schema of the records.
        windows: windows of event time; a message's own time is its timestamp.
        policy: how readers set their watermark.
        ends: whether the source ends once everything that is there has been read.
        readers: how many readers share the partitions; None means one for each.
        all_fields: whether the columns were meant to hold all fields: values of others are counted.
        topic_id: what the topic's name stood for when the stream was planned; None if that is not known.
        output: the output topic, which keeps what it was made of, or None.
        is_other: whether the output also has rows of an earlier topic of this name, with other ids.
    """

    topic: str
    partitions: tuple[int, ...]
    properties: dict[str, str]
    format: StreamInputFormat
    schema: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    ends: bool = False
    readers: int | None = None
    all_fields: bool = False
    topic_id: TopicId | None = None
    output: str | None = None
    is_other: bool = False

    @property
    def uri(self) -> str:
        """`kafka:TOPIC`."""
        return f"kafka:{self.topic}"

    def claim(self, objects: Objects, *, accept: bool) -> tuple["KafkaSource", dict[str, str]]:
        """Claim a folder for this topic."""
        if self.topic_id is None:
            return self, {}
        claim = InputClaim.look_at(objects, self.topic, self.topic_id, accept=accept).take()
        return replace(self, is_other=bool(claim.suffix)), claim.metadata

    def claim_topic(self, output: str, *, accept: bool) -> "KafkaSource":
        """Claim an output topic for this topic."""
        if self.topic_id is None:
            return self
        claim = TopicClaim(self.topic, output, self.properties)
        is_other = claim.take(self.topic_id, accept=accept)
        return replace(self, output=output, is_other=is_other)

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
class TopicRead(CheckpointMark):
    """How far a reader has read each partition of its source, in the source's order."""

    partitions: tuple[PartitionRead, ...]


_idle = IdleConsumers[PartitionConsumer]()


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
        self._decoder = BatchDecoder(
            *(source.topic, source.format, source.schema, source.windows, source.policy),
            all_fields=source.all_fields,
        )
        self._read = tuple(start)
        self._consumer: PartitionConsumer | None = None
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
            self._consumer = _idle.take(self._position) or self._connect()
        consumer = self._consumer
        found = consumer.next()
        if found is not None:
            number, messages = found
            batch = self._decoder.batch(number, messages, self._watermark_micros, self._version(number))
            id_source = self._id_source(number)
            if id_source is not None:
                id_source += batch.source.removeprefix(
                    f"{self._source.topic}/{number}"
                )  # of an Arrow message
            self._current = replace(batch, id_source=id_source)
            consumer.partitions[number].offset = messages[-1].offset() + 1
            consumer.partitions[number].watermark.observe(self._current.latest)
        self._read = tuple(
            PartitionRead(p.offset, p.watermark.micros, p.epoch) for p in consumer.partitions.values()
        )
        self._ended = consumer.has_ended
        return found is not None

    def _connect(self) -> PartitionConsumer:
        source = self._source
        start = dict(zip(source.partitions, self._read, strict=True))
        properties = tuple(sorted(source.properties.items()))
        guard = topic_guard(source.topic, source.topic_id, properties, source.output)
        return PartitionConsumer(
            source.topic,
            guard,
            source.properties,
            source.policy,
            start,
            ends=source.ends,
            one_by_one=source.format == "arrow",
        )

    def _epoch(self, number: int) -> int:
        return 0 if self._consumer is None else self._consumer.partitions[number].epoch

    def _id_source(self, number: int) -> str | None:
        """What ids begin with where rows that had the same offsets are in the output."""
        about = [self._source.topic_id.short] if self._source.is_other and self._source.topic_id else []
        if epoch := self._epoch(number):
            about.append(str(epoch))
        return f"{self._source.topic}/{number}~{'-'.join(about)}" if about else None

    def _version(self, number: int) -> str:
        """Tells the rows of a partition from those that had their offsets before."""
        epoch = self._epoch(number)
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
