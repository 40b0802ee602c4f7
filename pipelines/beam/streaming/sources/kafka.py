"""An endless source of the records of a Kafka topic, as record batches, in plain Python.

How far each partition has been read is in the runner's checkpoints and nowhere else: no group is joined, no
offset is committed. A stream that begins anew begins at the first record.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark

from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.event_time import WatermarkPolicy
from pipelines.beam.streaming.interfaces import Source
from pipelines.beam.streaming.sources.kafka_reader import KafkaReader, PartitionRead, TopicRead

__all__ = ["KafkaSource"]


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
    format: Literal["json", "text"]
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

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> KafkaReader:  # noqa: ARG002 - Beam's
        """A reader of the partitions, behind a mark."""
        if isinstance(checkpoint_mark, TopicRead):
            return KafkaReader(self, checkpoint_mark.partitions)
        return KafkaReader(self, [PartitionRead() for _ in self.partitions])

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        """Marks are pickled."""
        return coders.PickleCoder()
