"""librdkafka's properties: our defaults, what the user sets, and what delivery depends on."""

import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from encoder.errors import ConfigurationError
from pipelines.kafka.secrets import file_secret, is_secret, read_text, variable_secret
from pipelines.kafka.topic_patterns import INTERNAL_TOPICS

__all__ = [
    "REGISTRY_PREFIX",
    "client_properties",
    "consumer_properties",
    "parse_properties",
    "producer_properties",
    "shown",
    "transaction_timeout_ms",
    "transactional_id",
]

REGISTRY_PREFIX = "schema.registry."
"""Begins the properties of the schema registry's client, which are not librdkafka's."""

_PREFIX = "MILLSTREAM_KAFKA_"

# What exactly-once rests on, and what has an option of its own.
_RESERVED = {
    "bootstrap.servers": "use --brokers",
    "group.id": "use --group",
    "group.instance.id": "use --instance",
    "transactional.id": "use --instance",
    "enable.auto.commit": "offsets are committed with the output",
    "enable.auto.offset.store": "offsets are committed with the output",
    "isolation.level": "it is always read_committed",
    "enable.idempotence": "it is always on",
    "queue.buffering.max.messages": "use --transaction-records",
    "queue.buffering.max.kbytes": "use --transaction-records",
    "message.max.bytes": "the topics' max.message.bytes applies",
    "schema.registry.url": "use --schema-registry",
}
_BATCH_BYTES = 1 << 18
_TRANSACTION_TIMEOUT_MS = 30_000
_COOPERATIVE = "cooperative-sticky"
_LEFT_OUT = "topic.blacklist"
_CLIENT = (  # of any client
    "security.",
    "sasl.",
    "ssl.",
    "socket.",
    "broker.address",
    "client.id",
    "enable.sasl.",
    "enable.ssl.",
)
# Consumers warn about the producer's properties, and producers about the consumer's.
_PRODUCER_ONLY = (
    "acks",
    "batch.",
    "compression.",
    "linger.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "partitioner",
    "queue.buffering.",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning",
    "transaction",
    "message.send.max.retries",
    "max.in.flight",
)
_CONSUMER_ONLY = (
    "auto.offset.reset",
    "check.crcs",
    "client.rack",
    "fetch.",
    "group.",
    "heartbeat.interval.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queued.",
    "session.timeout.ms",
)


def parse_properties(
    pairs: Iterable[str], files: Iterable[Path] = (), environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The user's properties. The command line overrides the environment, which overrides files.

    Args:
        pairs: `key=value`; `key=@path` reads the value from a file.
        files: one `key=value` a line; `#` begins a comment.
        environment: `MILLSTREAM_KAFKA_SASL_PASSWORD` sets `sasl.password`.

    Raises:
        ConfigurationError: a property cannot be read, or may not be set.
    """
    found: dict[str, str] = {}
    for path in files:
        lines = read_text(path).splitlines()
        found |= dict(_pair(line, str(path)) for line in lines if line.strip() and not line.startswith("#"))
    for name, value in environment.items():
        if name.startswith(_PREFIX):
            key = name.removeprefix(_PREFIX).lower().replace("_", ".")
            is_plain = value.startswith("@") or not is_secret(key)
            found[key] = value if is_plain else variable_secret(key, name, environment)
    found |= dict(_pair(pair, "--property") for pair in pairs)
    for key in found:
        if key in _RESERVED:
            raise ConfigurationError(f"the property {key} cannot be set: {_RESERVED[key]}")
    strategy = found.get("partition.assignment.strategy", _COOPERATIVE)
    if strategy != _COOPERATIVE:
        raise ConfigurationError(
            f"partition.assignment.strategy={strategy} is not supported: leave it out "
            f"({_COOPERATIVE}), or set group.protocol=consumer"
        )
    return {
        key: file_secret(key, value[1:]) if value.startswith("@") else value for key, value in found.items()
    }


def _pair(text: str, where: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"{where} is not KEY=VALUE")  # the text may be a secret
    return key.strip(), value.strip()


def shown(properties: Mapping[str, str]) -> dict[str, str]:
    """Properties for logs and reports, with secrets hidden."""
    return {key: "(hidden)" if is_secret(key) else value for key, value in properties.items()}


def client_properties(properties: Mapping[str, str], brokers: str) -> dict[str, str]:
    """Properties of any client: the brokers, and how to connect and log in."""
    shared = {key: value for key, value in properties.items() if key.startswith(_CLIENT)}
    return shared | {"bootstrap.servers": brokers}


def consumer_properties(
    properties: Mapping[str, str],
    *,
    brokers: str,
    group: str,
    instance: str | None,
    max_bytes: int = 1 << 30,
) -> dict[str, str]:
    """Properties of a consumer.

    Args:
        properties: the user's.
        brokers: HOST:PORT, separated by commas.
        group: the consumer group.
        instance: makes it a static member of its group.
        max_bytes: of records that may wait in memory. A 64th of it is fetched ahead, at most 16 MiB; there
            compressed messages count as what they are on the wire.
    """
    ahead = min(1 << 24, max_bytes // 64)
    own = {
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": "100",
        "fetch.max.bytes": str(ahead),
        "max.partition.fetch.bytes": str(ahead // 32),
        "queued.max.messages.kbytes": str(ahead >> 10),
        "fetch.queue.backoff.ms": "20",  # the default, a second, leaves a fast worker idle
        "statistics.interval.ms": "5000",
    }
    if properties.get("group.protocol", "classic") == "classic":
        own["partition.assignment.strategy"] = _COOPERATIVE
    users = _without(properties, _PRODUCER_ONLY)
    fixed = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "isolation.level": "read_committed",
    }
    static = {"group.instance.id": instance} if instance else {}
    left_out = [*filter(None, [users.get(_LEFT_OUT)]), *(f"^{topic}$" for topic in INTERNAL_TOPICS)]
    return own | users | fixed | static | {_LEFT_OUT: ",".join(left_out)}


def producer_properties(
    properties: Mapping[str, str],
    *,
    brokers: str,
    transactional_id: str | None,
    least_bytes: int,
    most_bytes: int,
) -> dict[str, str]:
    """Properties of a producer.

    Args:
        properties: the user's.
        brokers: HOST:PORT, separated by commas.
        transactional_id: turns on transactions; None for at-least-once.
        least_bytes: the smallest `max.message.bytes` of the topics.
        most_bytes: the largest.
    """
    own = {
        "linger.ms": "5",
        "batch.size": str(min(_BATCH_BYTES, least_bytes)),
        "partitioner": "murmur2_random",  # Java's: a key goes to the partition that other writers use
        "transaction.timeout.ms": str(_TRANSACTION_TIMEOUT_MS),
    }
    users = _without(properties, _CONSUMER_ONLY)
    fixed = {
        "bootstrap.servers": brokers,
        "enable.idempotence": "true",
        "message.max.bytes": str(most_bytes),
        "queue.buffering.max.messages": "2000000",
        "queue.buffering.max.kbytes": "2097151",  # librdkafka's largest
    }
    made = own | users | fixed
    if transactional_id is None:
        made.pop("transaction.timeout.ms")
        return made
    # A message must fail before its transaction times out.
    made.setdefault("message.timeout.ms", str(int(transaction_timeout_ms(made) * 0.8)))
    return made | {"transactional.id": transactional_id}


def transactional_id(group: str, instance: str | None) -> str:
    """The id under which a replica's transactions are fenced; a permission for the prefix `GROUP-` covers it.

    Two groups never share an id: `g` with the instance `x-0` and `g-x` with `0` differ in the digest.
    """
    if instance is None:
        return f"{group}-{uuid.uuid4().hex}"
    return f"{group}-{instance}-{hashlib.sha256(group.encode()).hexdigest()[:8]}"


def transaction_timeout_ms(properties: Mapping[str, str]) -> int:
    """After how many milliseconds brokers abort a transaction that is still open.

    Raises:
        ConfigurationError: the property is not a number.
    """
    text = properties.get("transaction.timeout.ms", str(_TRANSACTION_TIMEOUT_MS))
    if not text.isdecimal():
        raise ConfigurationError(
            f"the property transaction.timeout.ms={text} is not a number of milliseconds"
        )
    return int(text)


def _without(properties: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    others = (*prefixes, REGISTRY_PREFIX)
    return {key: value for key, value in properties.items() if not key.startswith(others)}
