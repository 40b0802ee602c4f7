"""Which topic a name stands for: the ids of the cluster and of the topic, which a new topic never shares."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from encoder.errors import OtherInput, TransientError

__all__ = ["TopicId", "cluster_id", "other_input", "topic_ids"]

_DIGITS = 12
_NO_ID = "A" * 22  # all zeros in base64: the brokers give topics no ids
_URL_SAFE = str.maketrans("+/", "-_")  # as kafka-topics.sh prints ids


@dataclass(frozen=True)
class TopicId:
    """What a topic's name stands for.

    Attributes:
        cluster: the id of the cluster.
        topic: the id of the topic; empty where the brokers have none (before Kafka 2.8).
        partitions: how many partitions the topic had when it was looked at; 0 if that is not known.
    """

    cluster: str
    topic: str
    partitions: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.cluster}/{self.topic}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`."""
        cluster, _, topic = text.rpartition("/")
        return cls(cluster, topic)

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits, for the names of files."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:_DIGITS]


def other_input(topic: str, found: TopicId, known: TopicId, whose: str) -> OtherInput:
    """The error for a topic that is not the one that was read before.

    Args:
        topic: its name.
        found: what the name stands for now.
        known: what it stood for.
        whose: what has read it, as `group 'fraud' has read`.
    """
    if found.cluster != known.cluster:
        how = f"it is in cluster {found.cluster}, and that one in {known.cluster}"
    else:
        how = f"it was created again: its id is {found.topic}, and was {known.topic}"
    return OtherInput(
        f"topic {topic!r} is not the one that {whose} ({how}): use a new output and a new group, or set "
        "`accept_new_input` to read it from its beginning into the same output"
    )


def cluster_id(admin: AdminClient, seconds: float) -> str:
    """The id of a cluster; empty if it has none.

    Raises:
        TransientError: the cluster does not answer.
    """
    try:
        return admin.list_topics(timeout=seconds).cluster_id or ""
    except KafkaException as error:
        raise TransientError(f"the brokers do not answer ({error.args[0].str()})") from error


def topic_ids(admin: AdminClient, cluster: str, topics: Iterable[str], seconds: float) -> dict[str, TopicId]:
    """The ids of those topics that exist.

    Args:
        admin: a client.
        cluster: its cluster's id.
        topics: their names.
        seconds: how long to wait for the answer.

    Raises:
        TransientError: the cluster does not answer.
    """
    found = {}
    futures = admin.describe_topics(TopicCollection(list(topics)), request_timeout=seconds)
    for name, future in futures.items():
        try:
            about = future.result()
        except KafkaException as error:
            reason = error.args[0]
            if reason.retriable() or reason.code() < 0:  # a negative one is the client's own
                raise TransientError(f"cannot describe topic {name!r}: {reason.str()}") from error
            continue  # it does not exist, or this user may not see it
        topic = str(about.topic_id).translate(_URL_SAFE)
        found[name] = TopicId(cluster, "" if topic == _NO_ID else topic, len(about.partitions))
    return found
