"""Checks before the work begins: can we log in, are the topics there, what may this user do.

librdkafka keeps retrying when a broker refuses it, and reports the reason only to an error callback.
`connect` collects these reports while it waits for the first answer, to say in one line what is wrong.
"""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType

from encoder.errors import ConfigurationError, MillstreamError, TransientError
from pipelines.kafka.config import client_properties
from pipelines.kafka.messages import KAFKA_LIMITS, TimeLimits
from pipelines.kafka.retries import retried
from pipelines.kafka.topic_patterns import INTERNAL_TOPICS, matches

__all__ = [
    "check_group",
    "check_topics",
    "check_transactions",
    "compacted",
    "connect",
    "max_message_bytes",
    "may_use_group",
    "time_limits",
]

_ASK_SECONDS = 20.0
_TRY_SECONDS = 1.0
_DEFAULT_BYTES = 1_048_588
_WHERE = re.compile(r"^\w+://[^ ]*: | \(after \d+ms in state \w+\)$|^\S+/bootstrap: ")


def connect(brokers: str, properties: Mapping[str, str]) -> AdminClient:
    """Connect to a cluster and wait for its first answer.

    Args:
        brokers: HOST:PORT, separated by commas.
        properties: the user's.

    Raises:
        ConfigurationError: a property is invalid, or the brokers refuse this user.
        TransientError: the cluster does not answer.
    """
    errors: list[KafkaError] = []
    own: dict[str, Any] = {"log_level": "0", "error_cb": errors.append}
    try:
        admin = AdminClient({**client_properties(properties, brokers), **own})
    except KafkaException as error:
        raise ConfigurationError(f"librdkafka refuses the properties: {error.args[0].str()}") from error
    deadline = time.monotonic() + _ASK_SECONDS
    while True:
        try:
            admin.list_topics(timeout=min(_TRY_SECONDS, _ASK_SECONDS))
        except KafkaException as error:
            admin.poll(0)  # calls the callback
            if refusal := _refusal(errors, properties):
                raise refusal from error
            if time.monotonic() > deadline:
                unknown = [one for one in errors if one.code() == KafkaError._RESOLVE]
                raise TransientError(
                    f"the brokers do not answer ({_reason(unknown[0] if unknown else error.args[0])}): check "
                    "--brokers, the network, and security.protocol if they use TLS or SASL"
                ) from error
        else:
            return admin


def _reason(error: KafkaError) -> str:
    """Librdkafka's message without addresses and times."""
    return _WHERE.sub("", _WHERE.sub("", error.str()))


def _refusal(errors: Sequence[KafkaError], properties: Mapping[str, str]) -> MillstreamError | None:
    """Why the brokers refuse the connection, or None where waiting may help."""
    for error in errors:
        why = _reason(error)
        if error.code() == KafkaError._AUTHENTICATION:
            user = properties.get("sasl.username") or properties.get("sasl.oauthbearer.client.id")
            whom = f"user {user!r}" if user else "this user"
            return ConfigurationError(
                f"the brokers do not let {whom} in ({why}): check sasl.mechanism, and the name and the "
                "secret among the sasl.* properties"
            )
        if "certificate verify failed" in why:
            return ConfigurationError(
                "the brokers' certificate cannot be verified: name the authority that signed it with "
                "--property ssl.ca.location=FILE"
            )
        if "alert bad certificate" in why or "alert certificate required" in why:
            return ConfigurationError(
                "the brokers require a client certificate: set ssl.certificate.location and ssl.key.location"
            )
        if "PLAINTEXT broker listener" in why:
            return ConfigurationError(
                "the brokers do not speak TLS on this port: check --brokers and security.protocol"
            )
        if error.code() == KafkaError._SSL:
            return ConfigurationError(f"TLS with the brokers fails ({why}): check the ssl.* properties")
    return None


def may_use_group(admin: AdminClient, group: str) -> bool:
    """Whether this user may use a group, which need not exist; true if the brokers do not say."""

    def describe() -> Any:
        futures = admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=_ASK_SECONDS
        )
        return futures[group].result()

    try:
        allowed = retried(describe).authorized_operations
    except KafkaException as error:
        return bool(error.args[0].code() != KafkaError.GROUP_AUTHORIZATION_FAILED)
    return not allowed or AclOperation.READ in allowed


def check_group(admin: AdminClient, group: str) -> None:
    """Check that this user may join a group.

    Raises:
        ConfigurationError: it may not.
    """
    if not may_use_group(admin, group):
        raise ConfigurationError(f"this user may not use group {group!r}: allow it READ on the group")


def check_transactions(brokers: str, properties: Mapping[str, str], prefix: str) -> None:
    """Check that this user may use transactions, with a transactional id that nobody else has.

    Args:
        brokers: HOST:PORT, separated by commas.
        properties: the user's.
        prefix: of transactional ids.

    Raises:
        ConfigurationError: it may not.
        TransientError: the cluster does not answer.
    """
    own = {"log_level": "0", "transactional.id": f"{prefix}{uuid.uuid4().hex}"}
    producer = Producer({**client_properties(properties, brokers), **own})
    try:
        retried(lambda: producer.init_transactions(_ASK_SECONDS))
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            raise ConfigurationError(
                "this user may not use transactions: allow it WRITE and DESCRIBE on transactional ids that "
                f"begin with {prefix!r}, or use --delivery at-least-once"
            ) from error
        raise TransientError(f"cannot begin transactions: {error.args[0].str()}") from error


def check_topics(
    admin: AdminClient, reads: Sequence[str], writes: Sequence[str], *, described: bool = True
) -> tuple[dict[str, int], dict[str, int]]:
    """Check that topics exist and that this user may read and write them.

    Args:
        admin: from `connect`.
        reads: topics to read, and regular expressions that begin with `^`.
        writes: topics to write.
        described: whether the cluster can report what this user may do.

    Returns:
        The topics to read (those that match included) and those to write, with their numbers of partitions.

    Raises:
        ConfigurationError: a topic is missing or forbidden, or none matches.
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
            f"the brokers do not answer ({error.args[0].str()}): check --brokers and the network"
        ) from error
    there = {name: len(topic.partitions) for name, topic in known.items() if topic.partitions}
    found: dict[str, int] = {}
    for wanted in reads:
        if wanted in INTERNAL_TOPICS:
            raise ConfigurationError(f"topic {wanted!r} is Kafka's own, which each commit would add to")
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
            raise kind(f"cannot describe topic {name!r}: {why}") from error
        if allowed and operation not in allowed:
            raise ConfigurationError(
                f"this user may not {verb} topic {name!r}: allow it {operation.name} on the topic"
            )


def max_message_bytes(admin: AdminClient, topics: Sequence[str], *, described: bool = True) -> dict[str, int]:
    """The `max.message.bytes` of topics; Kafka's default where this user may not read it."""
    configs = _configs(admin, topics, described=described)
    return {name: int(config.get("max.message.bytes", _DEFAULT_BYTES)) for name, config in configs.items()}


def time_limits(
    admin: AdminClient, topics: Sequence[str], *, described: bool = True
) -> dict[str, TimeLimits]:
    """The timestamps that topics accept; Kafka's default where this user may not read it."""
    configs = _configs(admin, topics, described=described)
    return {name: TimeLimits.of_topic(config) if config else KAFKA_LIMITS for name, config in configs.items()}


def compacted(admin: AdminClient, topics: Sequence[str], *, described: bool = True) -> frozenset[str]:
    """Those of some topics that are compacted, and take no message without a key; as far as is known."""
    configs = _configs(admin, topics, described=described)
    return frozenset(
        name for name, config in configs.items() if "compact" in config.get("cleanup.policy", "")
    )


def _configs(admin: AdminClient, topics: Sequence[str], *, described: bool) -> dict[str, dict[str, str]]:
    """The configurations of topics; empty where this user may not read one."""
    found: dict[str, dict[str, str]] = {name: {} for name in topics}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    if not described or not resources:
        return found
    for resource, future in admin.describe_configs(resources, request_timeout=_ASK_SECONDS).items():
        with suppress(KafkaException):
            found[resource.name] = {key: entry.value for key, entry in future.result().items()}
    return found
