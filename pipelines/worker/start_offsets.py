"""Where a partition is read from: at its committed offset, or where the log begins or ends."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaException, TopicPartition

from encoder.errors import ConfigurationError
from pipelines.kafka.offset_reset import OffsetReset, is_lost
from pipelines.kafka.retries import retried
from pipelines.worker.commit import stop_error
from pipelines.worker.inputs import Inputs
from pipelines.worker.offsets import CommitNote, PartitionName

__all__ = ["Start", "Starts", "end_after_cut"]

_log = logging.getLogger(__name__)
_ASK_SECONDS = 10.0
_CUT = re.compile(r"(?:truncation detected|No epoch found) .*broker end offset is (-?\d+)")


@dataclass
class Start:
    """Where a partition is read from.

    Attributes:
        name: the partition.
        offset: the first offset to read.
        note: what stands in the metadata of the committed offset, the topic's id included.
        epoch: of the leader that wrote what was read last before the committed offset; None if unknown.
        is_cut: whether the log ended before the position.
        skipped: how many offsets will never be read, by reason: `retention` has removed them, or reading
            begins behind them (`latest`).
    """

    name: PartitionName
    offset: int
    note: CommitNote = field(default_factory=CommitNote)
    epoch: int | None = None
    is_cut: bool = False
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, end: int, reason: str) -> None:
        """Go to `end`, which is behind `offset`."""
        _log.warning("%s: offsets %d to %d are not read (%s)", self.name, self.offset, end - 1, reason)
        self.skipped[reason] = end - self.offset
        self.offset = end


class Starts:
    """Decides where partitions are read from.

    Args:
        consumer: confluent_kafka's.
        inputs: knows what the names of topics stand for; None if the brokers cannot tell.
        reset: where a new group starts, as does a position that the log lost; `error` for neither.
    """

    def __init__(self, consumer: Any, inputs: Inputs | None, reset: OffsetReset) -> None:
        self._consumer = consumer
        self._inputs = inputs
        self._reset = reset
        self._latest = reset == "latest"

    def of(self, parts: Sequence[TopicPartition]) -> list[Start]:
        """The starts of partitions that were assigned.

        A partition without a committed offset gets one now, so that its next owner starts at the same offset
        if it moves before its first record is committed. So does one whose offset is another topic's.

        Raises:
            OtherInput: a topic is not the one that was read before.
            ConfigurationError: a known offset is missing, and `reset` is `error`.
            TransientError: the cluster does not answer.
        """
        if not parts:
            return []
        if self._inputs is not None:
            self._inputs.admit(part.topic for part in parts)
        starts, new = [], []
        for part in _patiently(self._consumer.committed, parts):
            start, is_new = self._start(part)
            starts.append(start)
            if is_new:
                new.append(TopicPartition(*start.name, start.offset, str(start.note)))
        if new:
            try:
                self._consumer.commit(offsets=new, asynchronous=False)
            except KafkaException as error:
                _log.warning("cannot commit the first offsets: %s", error.args[0].str())
        return starts

    def _start(self, part: TopicPartition) -> tuple[Start, bool]:
        """The start of a partition with its committed offset, and whether it is to be committed."""
        name, note = PartitionName(part.topic, part.partition), CommitNote.parse(part.metadata)
        topic = None if self._inputs is None else self._inputs[name.topic]
        is_other = topic is not None and note.input not in ("", str(topic))
        if part.offset != OFFSET_INVALID and not is_other:
            note = note if topic is None else note._replace(input=str(topic))
            return Start(name, part.offset, note, part.leader_epoch), False
        is_added = self._is_added(name)
        if self._reset == "error" and not (is_other or is_added or (self._inputs and self._inputs.accepts)):
            raise ConfigurationError(
                f"the group has no offset for {name}: it is new, its offsets have expired, or the topic was "
                "created again; set `accept_new_input` to read the topic from its beginning, or the property "
                "auto.offset.reset to earliest or latest"
            )
        low, high = _patiently(self._consumer.get_watermark_offsets, part)
        new = CommitNote() if topic is None else CommitNote(input=str(topic), partitions=topic.partitions)
        start = Start(name, low, new)
        if self._latest and not is_other and not is_added and high > low:
            start.skip(high, "latest")
        return start, True

    def _is_added(self, name: PartitionName) -> bool:
        """Whether a partition was added to a known topic, where that matters."""
        return self._reset != "earliest" and self._inputs is not None and self._inputs.is_new_partition(*name)

    def if_cut(self, name: PartitionName, at: int) -> Start | None:
        """The start of a partition whose log ends before a position; None if it does not."""
        _, high = _patiently(self._consumer.get_watermark_offsets, TopicPartition(*name))
        return self.after_reset(name, at) if at > high else None

    def after_reset(self, name: PartitionName, at: int, end: int | None = None) -> Start:
        """The start of a partition whose log does not have its position.

        Args:
            name: the partition.
            at: the position.
            end: where the log was cut if it has grown past the position since, and -1 if it does not even
                know the leader of that time; None if nothing shows that it was cut.

        Raises:
            OtherInput: the topic is not the one that was read before.
            ConfigurationError: the position is lost, and `reset` is `error`.
            TransientError: the cluster does not answer.
        """
        if self._inputs is not None:
            self._inputs.check_now(name.topic)
        low, high = _patiently(self._consumer.get_watermark_offsets, TopicPartition(*name))
        if end is not None and (end := max(low, end)) < at:
            is_lost(name, at, low, end, self._reset)
            _log.warning("%s was cut at offset %d, and %d was to be read next", name, end, at)
            return Start(name, end, is_cut=True)
        start = Start(name, at, is_cut=at > high)
        if not is_lost(name, at, low, high, self._reset):
            return start
        if start.is_cut:
            _log.warning("%s ends at offset %d, and %d was to be read next", name, high, at)
            start.offset = low
        else:
            start.skip(low, "retention")
        if self._latest and high > start.offset:
            start.skip(high, "latest")
        return start


def end_after_cut(error: str) -> int | None:
    """Where the log that is read has left the one that was read before, as librdkafka's error says it.

    It compares the epochs of leaders, and its error says more than its code: a broker that was elected leader
    without all records, or restored to an earlier state, has written others at the same offsets. -1 if the
    log knows no leader as early as that one.
    """
    found = _CUT.search(error)
    return int(found[1]) if found else None


def _patiently(call: Callable[..., Any], about: Any) -> Any:
    """Repeat a call while the cluster does not answer."""
    try:
        return retried(
            lambda: call(about, timeout=_ASK_SECONDS),
            passes=lambda error: not error.fatal(),
            seconds=2 * _ASK_SECONDS,
        )
    except KafkaException as error:
        raise stop_error(error) from error
