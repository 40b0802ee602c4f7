"""Which topic an output topic was made of: kept in the metadata of an offset that the brokers store.

    group millstream-stream.INPUT, topic OUTPUT, partition 0:  ["CLUSTER/FIRST_TOPIC", "CLUSTER/LAST_TOPIC"]

A stream commits no offsets that it reads from. This one is of the output topic, so it is gone when that topic
is deleted, and stays when the input topic is. Brokers drop it `offsets.retention.minutes` (7 days) after it
was written, so a running stream writes it again.
"""

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from encoder.errors import TransientError
from pipelines.kafka.config import client_properties
from pipelines.kafka.retries import passes_by_itself, retried
from pipelines.kafka.topic_ids import TopicId, other_input

__all__ = ["TopicClaim"]

_log = logging.getLogger(__name__)
_ASK_SECONDS = 10.0
_FORBIDDEN = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._TIMED_OUT,  # librdkafka asks for a group that is forbidden until its time is over
)


def _passes(error: KafkaError) -> bool:
    """Whether to ask again, since the coordinator still loads."""
    return error.code() not in _FORBIDDEN and passes_by_itself(error)


@dataclass(frozen=True)
class TopicClaim:
    """The claim of an input topic on an output topic.

    Attributes:
        topic: the input topic's name.
        output: the output topic's name.
        properties: librdkafka's properties of a consumer.
    """

    topic: str
    output: str
    properties: Mapping[str, str]

    def take(self, current: TopicId, *, accept: bool = False) -> bool:
        """Compare the topic with the one that the output was made of, and write down which one it is.

        Args:
            current: what the topic's name stands for now.
            accept: whether another topic of this name is accepted.

        Returns:
            Whether the output also has rows of an earlier topic of this name.

        Raises:
            OtherInput: the output was made of another topic of this name.
            TransientError: the cluster does not answer.
        """
        try:
            with closing(self._consumer()) as consumer:
                known = self._known(consumer)
                if known and known[-1] != current and not accept:
                    raise other_input(self.topic, current, known[-1], f"topic {self.output!r} was made of")
                self._write(consumer, [*known[:1], current] if known[:1] != [current] else [current])
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() not in _FORBIDDEN:
                raise TransientError(
                    f"cannot look up what topic {self.output!r} was made of: {reason.str()}"
                ) from error
            _log.warning(
                "cannot keep which topic %s stands for (%s): a restart does not notice that it was created "
                "again; allow READ on group %s and on topic %s",
                *(self.topic, reason.str(), self._group, self.output),
            )
            return False
        return bool(known) and known[0] != current

    def renew(self) -> None:
        """Write the claim again before the brokers drop it; it is no error here if they do not answer."""
        try:
            with closing(self._consumer()) as consumer:
                if known := self._known(consumer):
                    self._write(consumer, known)
        except KafkaException as error:
            _log.warning("cannot renew what topic %s was made of: %s", self.output, error.args[0].str())

    @property
    def _group(self) -> str:
        return f"millstream-stream.{self.topic}"

    def _consumer(self) -> Consumer:
        """A consumer that reads nothing; confluent_kafka 2.16's admin client crashes without permissions."""
        client = client_properties(self.properties, self.properties["bootstrap.servers"])
        return Consumer({**client, "group.id": self._group, "enable.auto.commit": False, "log_level": 0})

    def _known(self, consumer: Consumer) -> list[TopicId]:
        """The first topic of this name, and the last one if that is another; empty if nothing is known."""
        asked = [TopicPartition(self.output, 0)]
        [part] = retried(lambda: consumer.committed(asked, _ASK_SECONDS), passes=_passes)
        if part.error is not None:
            raise KafkaException(part.error)
        try:
            return [TopicId.parse(one) for one in msgspec.json.decode(part.metadata or "[]", type=list[str])]
        except msgspec.DecodeError:  # somebody else's
            return []

    def _write(self, consumer: Consumer, topics: list[TopicId]) -> None:
        metadata = msgspec.json.encode(list(map(str, topics))).decode()
        part = TopicPartition(self.output, 0, 0, metadata)
        for one in retried(lambda: consumer.commit(offsets=[part], asynchronous=False), passes=_passes) or ():
            if one.error is not None:
                raise KafkaException(one.error)
