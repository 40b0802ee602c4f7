"""An endless source of the records of a Kafka topic, as record batches, in plain Python.

Each partition is read by itself. How far it has been read is in the runner's checkpoints and nowhere else: no
group is joined, no offset is committed. A stream that begins anew begins at the first record.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, TopicPartition

from encoder.errors import ConfigurationError, MillstreamError, TransientError
from pipelines.beam.pieces import Arrival, Windows
from pipelines.beam.source import Source
from pipelines.beam.watermark import OPEN, Promise, Watermark
from pipelines.records.decode import BadRow
from pipelines.records.json_lines import JsonDecoder
from pipelines.records.values import decode_columns

__all__ = ["KafkaSource"]

_log = logging.getLogger(__name__)
_MESSAGES = 4096
_SECONDS = 0.02  # for more messages to come, if there are fewer
_GONE = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own codes are named so
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
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
        promise: for the watermark.
        ends: whether the source ends when all that is there has been read.
    """

    topic: str
    partitions: tuple[int, ...]
    properties: dict[str, str]
    format: Literal["json", "text"]
    records: pa.Schema
    windows: Windows
    promise: Promise
    ends: bool = False

    @property
    def place(self) -> str:
        """What the command line calls it."""
        return f"kafka:{self.topic}"

    def split(self, desired_num_splits: int, options: Any = None) -> list["KafkaSource"]:  # noqa: ARG002 - Beam's
        """A source for each partition."""
        return [replace(self, partitions=(partition,)) for partition in self.partitions]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> "_Reader":  # noqa: ARG002 - Beam's
        """A reader of the one partition, behind a mark."""
        return _Reader(self, checkpoint_mark if isinstance(checkpoint_mark, OffsetRead) else OffsetRead())

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        """Marks are pickled."""
        return coders.PickleCoder()


@dataclass(frozen=True)
class OffsetRead(CheckpointMark):
    """How far a reader is.

    Attributes:
        offset: of the next message.
        watermark: microseconds since the epoch.
    """

    offset: int = OFFSET_BEGINNING
    watermark: int = OPEN


class _Reader(UnboundedReader):
    def __init__(self, source: KafkaSource, mark: OffsetRead) -> None:
        [partition] = source.partitions
        self._source = source
        self._name = f"{source.topic}/{partition}"
        self._decoder = JsonDecoder(self._name, source.records) if source.format == "json" else None
        self._watermark = Watermark(source.promise, mark.watermark)
        self._next = mark.offset
        self._current: Arrival | None = None
        self._ended = False
        self._consumer = Consumer({**source.properties, "enable.partition.eof": True}, logger=_log)
        self._consumer.assign([TopicPartition(source.topic, partition, mark.offset)])

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        self._current = None
        messages = [one for one in self._consumer.consume(_MESSAGES, _SECONDS) if not self._is_event(one)]
        if not messages:
            self._watermark.wait()
            return False
        self._current = self._arrival(messages)
        self._watermark.see(self._current.latest)
        return True

    def _is_event(self, message: Any) -> bool:
        """Whether it is no record: an error, or the end of what is there."""
        error: KafkaError | None = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are named so
            self._ended = self._source.ends
        elif error.code() in _GONE:
            raise ConfigurationError(f"cannot read {self._name}: {error.str()}")
        elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - as above
            raise TransientError(f"cannot go on reading {self._name}: {error.str()}")
        else:
            _log.warning("while reading %s: %s", self._name, error.str())
        return True

    def _arrival(self, messages: list[Any]) -> Arrival:
        values = [message.value() for message in messages]
        offsets = np.array([message.offset() for message in messages], np.int64)
        self._next = int(offsets[-1]) + 1
        own = np.array([_micros(message) for message in messages], np.int64)
        found = decode_columns(values, self._source.format, self._source.records, self._decoder)
        rows = np.array(found.rows, np.int64)
        bad = tuple(
            BadRow(self._name, int(offsets[row]), reason, values[row] or b"")
            for row, reason in sorted(found.bad.items())
        )
        times = self._source.windows.times(found.batch, own[rows])
        keys = tuple(messages[row].key() for row in found.rows)
        watermark = self._watermark.micros
        return Arrival(self._name, found.batch, offsets[rows], times, bad, watermark, int(own.max()), keys)

    def get_current(self) -> Arrival:
        if self._current is None:
            raise MillstreamError("there is no current record: call advance first")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp(micros=self.get_current().time)

    def get_watermark(self) -> Timestamp:
        return MAX_TIMESTAMP if self._ended else Timestamp(micros=self._watermark.micros)

    def get_checkpoint_mark(self) -> OffsetRead:
        return OffsetRead(self._next, self._watermark.micros)

    def close(self) -> None:
        self._consumer.close()


def _micros(message: Any) -> int:
    """When a message was written, microseconds since the epoch; the epoch itself if it does not say."""
    kind, milliseconds = message.timestamp()
    return 0 if kind == TIMESTAMP_NOT_AVAILABLE else int(milliseconds) * 1000
