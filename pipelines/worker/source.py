"""The input topics: the partitions of this worker, its position in each, and messages in batches.

Partitions are numbers here, and wherever batches go: `pipelines.worker.offsets.PartitionIndex` assigns them.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from encoder.errors import ConfigurationError, TransientError
from pipelines.kafka.headers import of_each
from pipelines.kafka.offset_reset import OffsetReset
from pipelines.worker.commit import stop_error
from pipelines.worker.inputs import Inputs
from pipelines.worker.message_batch import MessageBatch, runs
from pipelines.worker.offsets import PartitionIndex, Positions
from pipelines.worker.start_offsets import Start, Starts, end_after_cut

__all__ = ["Rebalanced", "Source"]

_Callback = Callable[[Any, list[TopicPartition]], None]
_log = logging.getLogger(__name__)
_SEEK_SECONDS = 30.0
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


class Rebalanced(Protocol):
    """Is notified of partitions that come and go, always from inside `Source.consume` or `Source.idle`."""

    def assigned(self, partition: int, offset: int, metadata: str) -> int:
        """This worker got a partition.

        Args:
            partition: its number.
            offset: the committed offset.
            metadata: the metadata that was committed with it.

        Returns:
            The offset to start reading at.
        """

    def cut(self, partition: int, offset: int) -> int:
        """The log of a partition lost what was read last, and offsets come again from here on.

        Returns:
            The offset to start reading at.
        """

    def skipped(self, skipped: Mapping[str, int]) -> None:
        """So many offsets will never be read, by reason."""

    def revoked(self, partitions: list[int]) -> None:
        """Partitions are about to move: finish what is open. `Source.positions` still has them."""

    def lost(self, partitions: list[int]) -> None:
        """Partitions have moved already: drop what is open."""


class Source:
    """Reads topics as a member of a consumer group.

    Args:
        consumer: confluent_kafka's, with `auto.offset.reset=error`: where to go then is decided here.
        topics: names, and regular expressions that begin with `^`. New matching topics are picked up at the
            next metadata refresh.
        reset: where a new group starts, as does a position that the log lost, which may be an error.
        inputs: knows what the names of topics stand for; None if the brokers cannot tell.

    Attributes:
        partitions: the numbers of partitions.
        positions: the positions in this worker's partitions.
        rebalances: how often partitions came or went.
    """

    def __init__(
        self,
        consumer: Any,
        topics: Sequence[str],
        *,
        reset: OffsetReset,
        inputs: Inputs | None = None,
    ) -> None:
        self.partitions = PartitionIndex()
        self.positions = Positions()
        self.rebalances = 0
        self._consumer = consumer
        self._topics = list(topics)
        self._inputs = inputs
        self._starts = Starts(consumer, inputs, reset)
        self._gone: dict[int, int | None] = {}  # partitions without their position, and where they were cut
        self._paused: set[int] = set()
        self._moved: set[int] = set()  # to seek to their position
        self._epochs: dict[int, int] = {}  # of the leaders that wrote what was read last
        self._unproven: set[int] = set()  # what was read of them before may not be in the log any more
        self._late: dict[int, float] = {}  # when a seek that did not succeed yet is an error
        self._fresh: set[int] = (
            set()
        )  # assigned during this call: to seek if it also returned messages of them
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
        """A callback whose error is kept until the client's call has returned."""

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
        """The next messages, possibly none; partitions may come and go during the call.

        Raises:
            TransientError: this consumer cannot continue.
            ConfigurationError: a topic does not exist, or this user may not read it.
        """
        self._follow_resets()
        self._settle()
        self._fresh.clear()
        messages = self._consumer.consume(n_messages, seconds)
        self._raise_kept()
        if any(of_each(messages, "error")):
            messages = [message for message in messages if not self._is_error(message)]
        partitions = self.partitions.of_messages(messages)
        offsets = np.fromiter(of_each(messages, "offset"), np.int64, len(messages))
        batch = MessageBatch(messages, partitions, offsets)
        if self._fresh:
            self._moved |= self._fresh.intersection(partitions.tolist())
        if self._moved:  # messages from before and after the move look alike: read them again
            batch = batch.select(~np.isin(partitions, list(self._moved)))
            self._settle()
        batch = batch.select(self.positions.take(batch.partitions, batch.offsets))
        self._note_epochs(batch)
        return batch

    def _note_epochs(self, batch: MessageBatch) -> None:
        for partition, last in {number: stop - 1 for number, _, stop in runs(batch.partitions)}.items():
            epoch = batch.messages[last].leader_epoch()
            if epoch is not None and epoch > self._epochs.get(partition, -1):
                self._epochs[partition] = epoch

    def to_commit(self, partition: int, offset: int, metadata: str) -> TopicPartition:
        """An offset to commit, with what shows later that the log before it is the same."""
        return self.partitions.part(partition, offset, metadata, self._epochs.get(partition))

    def forget(self, partition: int) -> None:
        """What was read of a partition is not in its log any more."""
        self._epochs.pop(partition, None)
        self._unproven.discard(partition)

    def _is_error(self, message: Any) -> bool:
        error: KafkaError | None = message.error()
        if error is None:
            return False
        if error.fatal():
            raise stop_error(KafkaException(error))
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            number = self.partitions.number(message.topic(), message.partition())
            self._gone[number] = end_after_cut(error.str())
            return True
        if error.code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
            raise ConfigurationError(
                "the group has members of another program, which share partitions in another way: name "
                "another --group, or stop them"
            )
        if error.code() in _GONE and message.topic() in self._topics:
            if self._inputs is not None:
                self._inputs.check_now(message.topic())  # deleted, or created again?
            raise ConfigurationError(
                f"cannot read topic {message.topic()!r}: {error.str()}: check --input and permissions"
            )
        _log.warning("error while reading: %s", error.str())
        return True

    def give_up(self) -> None:
        """Stop notifying the listener: after an error nothing more is finished."""
        self._listener = None

    def rewind(self) -> None:
        """Go back to the committed positions."""
        self._moved |= set(self.positions.rewind())

    def give_back(self, messages: MessageBatch) -> None:
        """Read the messages of the last batch again."""
        self._moved |= set(self.positions.give_back(messages.partitions, messages.offsets))

    def idle(self) -> None:
        """Stay in the group without reading, while the worker waits for something else."""
        self.hold(self.positions.owned)
        message = self._consumer.poll(0)
        self._raise_kept()
        if message is not None and not self._is_error(message):
            self._moved.add(self.partitions.number(message.topic(), message.partition()))

    def hold(self, partitions: Iterable[int]) -> None:
        """Pause these partitions, and resume all others."""
        owned = set(self.positions.owned)
        wanted = owned.intersection(partitions)
        self._paused &= owned
        if pause := wanted - self._paused:
            self._consumer.pause(self._parts(pause))
        if resume := self._paused - wanted:
            self._consumer.resume(self._parts(resume))
        self._paused = wanted

    def _settle(self) -> None:
        """Seek to the positions of the partitions in `_moved`; those that cannot seek yet stay there."""
        wanted = self._moved.intersection(self.positions.owned) - self._gone.keys()
        self._moved = {partition for partition in wanted if not self._seek(partition)}

    def _seek(self, partition: int) -> bool:
        """Seek to the position of a partition; false if it cannot seek yet, as right after its assignment."""
        epoch = self._epochs.get(partition) if partition in self._unproven else None
        part = self.partitions.part(partition, self.positions.next(partition), leader_epoch=epoch)
        try:
            self._consumer.seek(part)
        except KafkaException as error:
            if time.monotonic() > self._late.setdefault(partition, time.monotonic() + _SEEK_SECONDS):
                raise TransientError(f"cannot seek to {part}: {error.args[0].str()}") from error
            return False
        self._unproven.discard(partition)
        self._late.pop(partition, None)
        return True

    def _parts(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [self.partitions.part(partition) for partition in sorted(partitions)]

    def if_cut(self, partition: int, position: int) -> Start | None:
        """Where to start a partition if its log ends before a position of one of the outputs; else None."""
        return self._starts.if_cut(self.partitions[partition], position)

    def _follow_resets(self) -> None:
        """Read on where the log is, in partitions whose position it no longer has."""
        gone, self._gone = self._gone, {}
        for number in sorted(gone.keys() & set(self.positions.owned)):
            at = self.positions.next(number)
            reset = self._starts.after_reset(self.partitions[number], at, gone[number])
            start = reset.offset
            if self._listener is not None and reset.is_cut:
                start = self._listener.cut(number, start)
                if number not in self.positions.owned:  # it has moved meanwhile
                    continue
                self.positions.begin(number, start)
            if self._listener is not None and reset.skipped:
                self._listener.skipped(reset.skipped)
            parts = [self.partitions.part(number, start)]
            self._consumer.incremental_unassign(parts)  # without a position, a partition cannot seek
            self._consumer.incremental_assign(parts)
            self._paused.discard(number)

    def _on_assign(self, _consumer: Any, parts: list[TopicPartition]) -> None:
        self.rebalances += 1
        if self._listener is None:
            return
        begins = {}
        for start in self._starts.of(parts):
            number = self.partitions.number(*start.name)
            self.positions.begin(number, start.offset)
            self.forget(number)
            if start.epoch is not None:
                self._epochs[number] = start.epoch
            begins[number] = self._listener.assigned(number, start.offset, str(start.note))
            self.positions.begin(number, begins[number])
            if number in self._epochs:  # a seek compares it with the log's, an assignment does not
                self._unproven.add(number)
                self._moved.add(number)
            if start.skipped:
                self._listener.skipped(start.skipped)
            self._paused.discard(number)
            self._fresh.add(number)
        self._consumer.incremental_assign([self.partitions.part(*begin) for begin in begins.items()])
        self._consumer.resume(self._parts(begins))  # a partition that left while paused comes back paused
        _log.info("assigned %s", {str(self.partitions[number]): offset for number, offset in begins.items()})

    def _leave(self, parts: list[TopicPartition], how: str) -> None:
        self.rebalances += 1
        partitions = [self.partitions.number(part.topic, part.partition) for part in parts]
        _log.info("%s %s", how, [str(self.partitions[number]) for number in partitions])
        if self._listener is not None:
            (self._listener.revoked if how == "revoked" else self._listener.lost)(partitions)
        self.positions.end(partitions)
        for number in partitions:
            self._gone.pop(number, None)
            self._late.pop(number, None)
            self.forget(number)
        self._paused -= set(partitions)
        self._moved -= set(partitions)
