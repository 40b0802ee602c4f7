"""The input topics: which partitions are ours, where we are in them, and messages in batches.

Here and in all that follows, a partition is a number that this process gave to a topic's partition: see
`PartitionIndex`.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from numpy.typing import NDArray

from encoder.errors import ConfigurationError, TransientError
from pipelines.worker.commit import stop_error
from pipelines.worker.offsets import PartitionIndex, Positions

__all__ = ["MessageBatch", "Rebalanced", "Source"]

_Callback = Callable[[Any, list[TopicPartition]], None]
_log = logging.getLogger(__name__)
_ASK_SECONDS = 10.0
_SEEK_SECONDS = 10.0
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


@dataclass(frozen=True)
class MessageBatch:
    """A batch of messages, in the order of each partition.

    Attributes:
        messages: confluent_kafka's.
        partitions: `(n,)` int32, as `PartitionIndex` numbers them.
        offsets: `(n,)` int64.
    """

    messages: list[Any]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.messages)

    def select(self, mask: NDArray[np.bool_]) -> "MessageBatch":
        """The messages where the mask is true."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        return MessageBatch(
            [self.messages[i] for i in rows.tolist()], self.partitions[rows], self.offsets[rows]
        )


class Rebalanced(Protocol):
    """Who is told of partitions that come and go; all calls come from inside `Source.consume`."""

    def assigned(self, partition: int, offset: int, metadata: str) -> int:
        """A partition is ours; the committed offset and what was committed with it.

        Returns:
            Where to begin to read.
        """

    def revoked(self, partitions: list[int]) -> None:
        """Partitions are taken away in order: finish what is open. They still are in the positions."""

    def lost(self, partitions: list[int]) -> None:
        """Partitions were taken away some time ago: drop what is open."""


class Source:
    """Reads topics as a member of a group.

    Args:
        consumer: confluent_kafka's.
        topics: names, and regular expressions that begin with `^`: topics that match are read from the next
            rebalance on, whenever they appear.
        latest: whether a group that begins reads only what is new.

    Attributes:
        places: what the numbers of partitions mean.
        positions: of the partitions that are ours.
    """

    def __init__(self, consumer: Any, topics: Sequence[str], *, latest: bool) -> None:
        self.partitions = PartitionIndex()
        self.positions = Positions()
        self.rebalances = 0
        self._consumer = consumer
        self._topics = list(topics)
        self._latest = latest
        self._paused: set[int] = set()
        self._moved: set[int] = set()  # to seek where their position is
        self._fresh: set[int] = set()  # assigned during a call: to seek if that call gave messages of them
        self._listener: Rebalanced | None = None
        self._failure: Exception | None = None  # confluent_kafka garbles what its callbacks raise

    def subscribe(self, listener: Rebalanced) -> None:
        """Join the group."""
        self._listener = listener
        self._consumer.subscribe(
            self._topics,
            on_assign=self._kept(self._on_assign),
            on_revoke=self._kept(lambda _, parts: self._leave(parts, "revoked")),
            on_lost=self._kept(lambda _, parts: self._leave(parts, "lost")),
        )

    def _kept(self, callback: _Callback) -> _Callback:
        """A callback whose errors are raised when the call that it belongs to has ended."""

        def call(consumer: Any, parts: list[TopicPartition]) -> None:
            try:
                callback(consumer, parts)
            except Exception as error:  # noqa: BLE001 - raised by `_raise_kept`
                self._failure = self._failure or error

        return call

    def _raise_kept(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def consume(self, n_messages: int, seconds: float) -> MessageBatch:
        """The next messages, possibly none; partitions may come and go meanwhile.

        Raises:
            TransientError: this consumer cannot go on.
            ConfigurationError: the topic is not there, or not for us.
        """
        self._settle()
        self._fresh.clear()
        messages = self._consumer.consume(n_messages, seconds)
        self._raise_kept()
        if any([message.error() for message in messages]):  # noqa: C419 - a list is faster
            messages = [message for message in messages if not self._is_error(message)]
        partitions = self.partitions.of_messages(messages)
        offsets = np.array([message.offset() for message in messages], np.int64)
        batch = MessageBatch(messages, partitions, offsets)
        self._moved |= self._fresh.intersection(partitions.tolist())
        if self._moved:  # what came before and after the move cannot be told apart: read it again
            batch = batch.select(~np.isin(partitions, list(self._moved)))
            self._settle()
        return batch.select(self.positions.take(batch.partitions, batch.offsets))

    def _is_error(self, message: Any) -> bool:
        error: KafkaError | None = message.error()
        if error is None:
            return False
        if error.fatal():
            raise stop_error(KafkaException(error))
        if error.code() in _GONE and message.topic() in self._topics:
            raise ConfigurationError(f"cannot read topic {message.topic()!r}: {error.str()}")
        _log.warning("while reading: %s", error.str())
        return True

    def give_up(self) -> None:
        """From now on nobody is told of partitions that go: nothing more is to be finished."""
        self._listener = None

    def rewind(self) -> None:
        """Go back to what is committed."""
        self._moved |= set(self.positions.rewind())

    def give_back(self, messages: MessageBatch) -> None:
        """Read the messages that came last once more."""
        self._moved |= set(self.positions.give_back(messages.partitions, messages.offsets))

    def idle(self) -> None:
        """Stay in the group while there is no time for messages."""
        self.hold(self.positions.owned)
        message = self._consumer.poll(0)
        self._raise_kept()
        if message is not None and not self._is_error(message):
            self._moved.add(self.partitions.number(message.topic(), message.partition()))

    def hold(self, partitions: Iterable[int]) -> None:
        """Read these partitions no further, and the others again."""
        owned = set(self.positions.owned)
        wanted = owned.intersection(partitions)
        self._paused &= owned
        if pause := wanted - self._paused:
            self._consumer.pause(self._parts(pause))
        if resume := self._paused - wanted:
            self._consumer.resume(self._parts(resume))
        self._paused = wanted

    def _settle(self) -> None:
        """Seek where the positions are, for partitions that moved."""
        for partition in self._moved.intersection(self.positions.owned):
            self._seek(self.partitions.part(partition, self.positions.next(partition)))
        self._moved.clear()

    def _seek(self, part: TopicPartition) -> None:
        deadline = time.monotonic() + _SEEK_SECONDS
        while True:
            try:
                self._consumer.seek(part)
            except KafkaException as error:  # a partition that was just assigned cannot seek yet
                if time.monotonic() > deadline:
                    raise TransientError(f"cannot go back to {part}: {error.args[0].str()}") from error
                time.sleep(0.01)
            else:
                return

    def _parts(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [self.partitions.part(partition) for partition in sorted(partitions)]

    def _on_assign(self, _consumer: Any, parts: list[TopicPartition]) -> None:
        self.rebalances += 1
        if self._listener is None:
            return
        starts = self._starts(parts)
        begins = {}
        for part in starts:
            number = self.partitions.number(part.topic, part.partition)
            self.positions.begin(number, part.offset)
            begins[number] = self._listener.assigned(number, part.offset, part.metadata or "")
            self.positions.begin(number, begins[number])
            self._paused.discard(number)
            self._fresh.add(number)
        self._consumer.incremental_assign([self.partitions.part(*begin) for begin in begins.items()])
        self._consumer.resume(self._parts(begins))  # held when it went, it would come back held
        _log.info("assigned %s", {str(self.partitions[number]): offset for number, offset in begins.items()})

    def _starts(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        """The committed offset of each partition.

        A partition without one gets one now: if it moves before its first record is committed, its next
        owner begins where we did.
        """
        if not parts:
            return []
        starts = self._patiently(self._consumer.committed, parts)
        new = [part for part in starts if part.offset == OFFSET_INVALID]
        for part in new:
            low, high = self._patiently(self._consumer.get_watermark_offsets, part)
            part.offset = high if self._latest else low
        if new:
            try:
                self._consumer.commit(offsets=new, asynchronous=False)
            except KafkaException as error:
                _log.warning("the first offsets are not committed yet: %s", error.args[0].str())
        return list(starts)

    @staticmethod
    def _patiently(ask: Callable[..., Any], about: Any) -> Any:
        deadline = time.monotonic() + 2 * _ASK_SECONDS
        while True:
            try:
                return ask(about, timeout=_ASK_SECONDS)
            except KafkaException as error:
                if time.monotonic() > deadline or error.args[0].fatal():
                    raise stop_error(error) from error
                time.sleep(0.1)

    def _leave(self, parts: list[TopicPartition], how: str) -> None:
        self.rebalances += 1
        partitions = [self.partitions.number(part.topic, part.partition) for part in parts]
        _log.info("%s %s", how, [str(self.partitions[number]) for number in partitions])
        if self._listener is not None:
            (self._listener.revoked if how == "revoked" else self._listener.lost)(partitions)
        self.positions.end(partitions)
        self._paused -= set(partitions)
        self._moved -= set(partitions)
