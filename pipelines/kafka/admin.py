"""What the cluster says of topics before the work begins: are they there, what may we do with them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType

from encoder.errors import ConfigurationError, TransientError
from pipelines.kafka.config import matches

__all__ = ["check_topics", "max_message_bytes", "sample_values"]

_ASK_SECONDS = 20.0
_DEFAULT_BYTES = 1_048_588
_SAMPLE_MESSAGES, _SAMPLE_SECONDS = 2000, 1.0


def check_topics(
    admin: AdminClient, reads: Sequence[str], writes: Sequence[str], *, described: bool = True
) -> tuple[dict[str, int], dict[str, int]]:
    """Look whether topics are there and whether we may read and write them.

    Args:
        admin: confluent_kafka's.
        reads: topics to read, and regular expressions that begin with `^`.
        writes: topics to write.
        described: whether the cluster can say what we may do.

    Returns:
        The topics to read, those that match included, and those to write, with their numbers of partitions.

    Raises:
        ConfigurationError: a topic is missing, or is not for us; or none matches.
        TransientError: the cluster does not answer.
    """
    reading, writing = (AclOperation.READ, "read"), (AclOperation.WRITE, "write")
    named = [topic for topic in reads if not topic.startswith("^")]
    if described:
        _check_rights(admin, dict.fromkeys(named, reading) | dict.fromkeys(writes, writing))
    try:
        known = admin.list_topics(timeout=_ASK_SECONDS).topics
    except KafkaException as error:
        raise TransientError(
            f"the brokers do not answer ({error.args[0].str()}): look at --brokers and the network"
        ) from error
    there = {name: len(topic.partitions) for name, topic in known.items() if topic.partitions}
    found: dict[str, int] = {}
    for wanted in reads:
        matching = [name for name in sorted(there) if matches(wanted, name)]
        if not matching:
            what = "that matches " if wanted.startswith("^") else ""
            raise ConfigurationError(
                f"there is no topic {what}{wanted!r} to read: create it, or correct --input"
            )
        found |= {name: there[name] for name in matching}
    for name in writes:
        if name not in there:
            raise ConfigurationError(f"there is no topic {name!r} to write: create it, or correct the name")
    if described and len(found) > len(named):
        _check_rights(admin, dict.fromkeys(found, reading))
    return found, {name: there[name] for name in writes}


def _check_rights(admin: AdminClient, wanted: Mapping[str, tuple[AclOperation, str]]) -> None:
    futures = admin.describe_topics(
        TopicCollection(list(wanted)), include_authorized_operations=True, request_timeout=_ASK_SECONDS
    )
    for name, future in futures.items():
        operation, verb = wanted[name]
        try:
            allowed = future.result().authorized_operations
        except KafkaException as error:
            code, why = error.args[0].code(), error.args[0].str()
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise ConfigurationError(
                    f"this user may not see topic {name!r}: allow it DESCRIBE and {operation.name} on it"
                ) from error
            if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise ConfigurationError(
                    f"there is no topic {name!r} to {verb}: create it, or correct the name"
                ) from error
            kind = ConfigurationError if code == KafkaError.CLUSTER_AUTHORIZATION_FAILED else TransientError
            raise kind(f"cannot look at topic {name!r}: {why}") from error
        if allowed and operation not in allowed:
            raise ConfigurationError(
                f"this user may not {verb} topic {name!r}: allow it {operation.name} on the topic"
            )


def max_message_bytes(admin: AdminClient, topics: Sequence[str], *, described: bool = True) -> dict[str, int]:
    """The `max.message.bytes` of topics, or Kafka's default where we may not ask."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    if not described or not resources:
        return dict.fromkeys(topics, _DEFAULT_BYTES)
    found = {}
    for resource, future in admin.describe_configs(resources, request_timeout=_ASK_SECONDS).items():
        try:
            found[resource.name] = int(future.result()["max.message.bytes"].value)
        except (KafkaException, KeyError):
            found[resource.name] = _DEFAULT_BYTES
    return found


def sample_values(properties: Mapping[str, str], topics: Mapping[str, int]) -> list[bytes | None]:
    """The values of the last messages of topics, some of each partition; none are committed.

    Args:
        properties: of the consumer.
        topics: names, and their numbers of partitions.

    Raises:
        TransientError: the cluster does not answer.
    """
    ours = {"group.id": f"{properties['group.id']}-sample", "enable.partition.eof": True}
    consumer: Any = Consumer({**properties, **ours})
    try:
        return _last_values(consumer, [(name, number) for name, n in topics.items() for number in range(n)])
    except KafkaException as error:
        raise TransientError(f"cannot read a sample of {', '.join(topics)}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _last_values(consumer: Any, partitions: Sequence[tuple[str, int]]) -> list[bytes | None]:
    share = 1 + _SAMPLE_MESSAGES // len(partitions)
    parts, ends = [], {}
    for place in partitions:
        part = TopicPartition(*place)
        low, high = consumer.get_watermark_offsets(part, timeout=_ASK_SECONDS)
        part.offset = max(low, high - share)
        if high > low:
            parts.append(part)
            ends[place] = high
    consumer.assign(parts)
    values: list[bytes | None] = []
    deadline = time.monotonic() + _ASK_SECONDS
    while ends and time.monotonic() < deadline:
        messages = consumer.consume(_SAMPLE_MESSAGES, _SAMPLE_SECONDS)
        if values and not messages:
            break  # it is a sample
        for message in messages:
            place = message.topic(), message.partition()
            if (error := message.error()) is None:
                values.append(message.value())
                if message.offset() + 1 >= ends.get(place, 0):
                    ends.pop(place, None)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends.pop(place, None)  # the last may be a marker
    if ends and not values:
        raise TransientError(f"the brokers gave no record of {next(iter(ends))[0]} in {_ASK_SECONDS:g} s")
    return values
