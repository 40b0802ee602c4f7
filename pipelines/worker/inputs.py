"""The topics that are read: whether each is still the one that its offsets and files belong to."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from encoder.errors import TransientError
from pipelines.kafka.retries import retried
from pipelines.kafka.topic_ids import TopicId, cluster_id, other_input, topic_ids
from pipelines.sinks.input_claim import InputClaim
from pipelines.sinks.tables.markers import Markers
from pipelines.worker.offsets import CommitNote
from pipelines.worker.topic_claims import TopicClaims

__all__ = ["Inputs"]

_log = logging.getLogger(__name__)
_ASK_SECONDS = 20.0
_CHECK_SECONDS = 2.0
_RENEW_SECONDS = 3600.0
_SHARE = 50  # checks take at most a fiftieth of the time


class Inputs:
    """Knows what the names of topics stand for, and ends the worker where one stands for another topic.

    Args:
        admin: a client.
        group: the consumer group.
        folders: the Parquet folders or the table of the output and of dead letters.
        claims: what the output topics were made of, where there are no folders to say it; or None.
        accept: whether another topic of the same name is read from its beginning; otherwise it is an error.
        clock: gives seconds.
    """

    def __init__(
        self,
        admin: AdminClient,
        group: str,
        folders: Iterable[Markers] = (),
        claims: TopicClaims | None = None,
        *,
        accept: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._group = group
        self._folders = list(folders)
        self._topic_claims = claims
        self._accept = accept
        self._clock = clock
        self._cluster = cluster_id(admin, _ASK_SECONDS)
        self._known: dict[str, TopicId] = {}
        self._claims: dict[tuple[str, str], InputClaim] = {}
        self._unread: set[str] = set()  # the group had no offsets for them
        self._next_check = 0.0
        self._renew_at = clock() + _RENEW_SECONDS

    def __getitem__(self, topic: str) -> TopicId | None:
        """What a topic's name stands for; None if the topic is unknown."""
        return self._known.get(topic)

    def look_at(self, topics: Iterable[str]) -> None:
        """Look at topics before their first record is read; writes nothing.

        Raises:
            OtherInput: a topic is not the one that this worker, the group or an output has read.
            TransientError: the cluster or a store does not answer.
        """
        found = topic_ids(self._admin, self._cluster, topics, _ASK_SECONDS)
        self._compare(found)
        new = {topic: one for topic, one in found.items() if topic not in self._known}
        notes = self._notes() if new else {}
        for (topic, partition), note in notes.items():
            one = new.get(topic)
            if one is not None and note.input and partition < one.partitions:
                self._refuse(topic, one, TopicId.parse(note.input), f"group {self._group!r} has read")
        if new and self._topic_claims is not None:
            self._topic_claims.look_at(new)
        claims = {
            (folder.uri, topic): InputClaim.look_at(folder, topic, one, accept=self._accept)
            for topic, one in new.items()
            for folder in self._folders
        }
        self._unread |= new.keys() - {topic for topic, _ in notes}
        self._known |= new
        self._claims |= claims

    @property
    def accepts(self) -> bool:
        """Whether another topic of the same name is read from its beginning."""
        return self._accept

    def warn_if_unread(self, written: Mapping[str, int]) -> None:
        """Warn of topics that the group has no offsets for, though the output has messages already.

        Kafka forgets the offsets of a group that was away for `offsets.retention.minutes`, and those of a
        topic that is deleted, where what the outputs were made of could not be kept.

        Args:
            written: the output topics, and their numbers of partitions.
        """
        if not self._unread or self._accept:
            return
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the client does not type it
        ends = {TopicPartition(topic, p): latest for topic, n in written.items() for p in range(n)}
        futures = self._admin.list_offsets(ends, request_timeout=_ASK_SECONDS) if ends else {}
        filled = set()
        for part, future in futures.items():
            with suppress(KafkaException):
                filled.update([part.topic] if future.result().offset else [])
        if filled:
            _log.warning(
                "group %r has no offsets for %s, and there are messages in %s already: if this group wrote "
                "them, its offsets have expired, and what the topic holds is read once more; set the "
                "property auto.offset.reset=error to stop there",
                self._group,
                ", ".join(sorted(self._unread)),
                ", ".join(sorted(filled)),
            )

    def _refuse(self, topic: str, found: TopicId, known: TopicId, whose: str) -> None:
        if found == known:
            return
        error = other_input(topic, found, known, whose)
        if not self._accept:
            raise error
        _log.warning("accepted: %s", error)

    def admit(self, topics: Iterable[str]) -> None:
        """Look at topics and write down in the outputs which ones they are.

        Raises:
            OtherInput: a topic is not the one that this worker, the group or an output has read.
            TransientError: the cluster or a store does not answer.
        """
        topics = set(topics)
        self.look_at(topics)
        for (folder, topic), claim in self._claims.items():
            if topic in topics:
                self._claims[folder, topic] = claim.take()
        if self._topic_claims is not None:
            self._topic_claims.take({topic: self._known[topic] for topic in topics & self._known.keys()})

    def claim(self, folder: str, topic: str) -> InputClaim | None:
        """A topic in one of the folders; None if the topic is unknown."""
        return self._claims.get((folder, topic))

    def check(self, topics: Iterable[str]) -> None:
        """Check that topics are still those that were admitted, unless too much of the time is spent here.

        A cluster that does not answer is not an error here.

        Raises:
            OtherInput: one is not.
        """
        begin = self._clock()
        if begin < self._next_check:
            return
        self.check_now(*topics)
        if self._topic_claims is not None and begin > self._renew_at:
            self._topic_claims.renew()
            self._renew_at = begin + _RENEW_SECONDS
        end = self._clock()
        self._next_check = end + _SHARE * (end - begin)

    def check_now(self, *topics: str) -> None:
        """Check that topics are still those that were admitted.

        Raises:
            OtherInput: one is not.
        """
        try:
            wanted = self._known.keys() & set(topics)
            self._compare(topic_ids(self._admin, self._cluster, wanted, _CHECK_SECONDS) if wanted else {})
        except TransientError as error:
            _log.warning("cannot check that the topics are the same: %s", error)

    def _compare(self, found: Mapping[str, TopicId]) -> None:
        for topic, one in found.items():
            if (known := self._known.get(topic, one)) != one:
                raise other_input(topic, one, known, "this worker has read")

    def is_new_partition(self, topic: str, partition: int) -> bool:
        """Whether a partition was added to a topic that the group knew already."""
        current = str(self._known[topic])
        return any(
            name == topic and note.input in ("", current) and note.partitions <= partition
            for (name, _), note in self._notes().items()
        )

    def _notes(self) -> dict[tuple[str, int], CommitNote]:
        """The metadata of all offsets that the group has committed."""

        def ask() -> Any:
            asked = ConsumerGroupTopicPartitions(self._group)
            futures = self._admin.list_consumer_group_offsets([asked], request_timeout=_ASK_SECONDS)
            return futures[self._group].result().topic_partitions or []

        try:
            found = retried(ask)
        except KafkaException as error:
            raise TransientError(
                f"cannot list the offsets of group {self._group!r}: {error.args[0].str()}"
            ) from error
        return {(part.topic, part.partition): CommitNote.parse(part.metadata) for part in found}
