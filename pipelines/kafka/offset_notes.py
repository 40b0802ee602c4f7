"""Notes that the brokers keep: in the metadata of offsets that nobody reads from.

A note on a partition is gone when its topic is deleted, and `offsets.retention.minutes` (7 days) after it was
written, so write it again while it is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from encoder.errors import TransientError
from pipelines.kafka.config import client_properties
from pipelines.kafka.retries import passes_by_itself, retried

__all__ = ["NotesForbidden", "OffsetNotes"]

_ASK_SECONDS = 10.0
_FORBIDDEN = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._TIMED_OUT,  # librdkafka asks for a group that is forbidden until its time is over
)


class NotesForbidden(Exception):
    """This user may not read or write notes of this group on this topic."""


class OffsetNotes:
    """The notes of a group.

    Args:
        group: has no members.
        properties: librdkafka's properties of a consumer.
    """

    def __init__(self, group: str, properties: Mapping[str, str]) -> None:
        client = client_properties(properties, properties["bootstrap.servers"])
        # confluent_kafka 2.16's admin client crashes without permissions: this consumer reads nothing.
        self._settings = {**client, "group.id": group, "enable.auto.commit": False, "log_level": 0}

    def read(self, partitions: Sequence[tuple[str, int]]) -> list[str]:
        """The notes on partitions of topics; empty where there is none.

        Raises:
            NotesForbidden: this user may not.
            TransientError: the cluster does not answer.
        """
        asked = [TopicPartition(*one) for one in partitions]
        return [
            part.metadata or "" for part in self._parts(lambda one: one.committed(asked, _ASK_SECONDS)) or ()
        ]

    def write(self, notes: Mapping[tuple[str, int], str]) -> None:
        """Write notes on partitions of topics, at most 4,096 bytes each.

        Raises:
            NotesForbidden: this user may not.
            TransientError: the cluster does not answer.
        """
        parts = [TopicPartition(*one, 0, note) for one, note in notes.items()]
        self._parts(lambda one: one.commit(offsets=parts, asynchronous=False))

    def _parts(self, call: Callable[[Any], Any]) -> Any:
        try:
            with closing(Consumer(self._settings)) as consumer:
                return _checked(retried(lambda: call(consumer), passes=_passes))
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            kind = NotesForbidden if reason.code() in _FORBIDDEN else TransientError
            raise kind(reason.str()) from error


def _checked(parts: Any) -> Any:
    for part in parts or ():
        if part.error is not None:
            raise KafkaException(part.error)
    return parts


def _passes(error: KafkaError) -> bool:
    """Whether to ask again, since the coordinator still loads."""
    return error.code() not in _FORBIDDEN and passes_by_itself(error)
