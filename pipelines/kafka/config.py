"""The properties of librdkafka: ours, the user's, and those that delivery depends on."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from encoder.errors import ConfigurationError

__all__ = ["consumer_properties", "matches", "parse_properties", "producer_properties", "shown"]

_PREFIX = "MILLSTREAM_KAFKA_"
_SECRET = ("password", "passphrase", "secret", "key.pem", "oauthbearer.config", "user.info", "auth.token")

# What exactly-once rests on, and what has a flag of its own.
_RESERVED = {
    "bootstrap.servers": "--brokers",
    "group.id": "--group",
    "group.instance.id": "--instance",
    "transactional.id": "--instance",
    "enable.auto.commit": "nothing: the worker commits",
    "enable.auto.offset.store": "nothing: the worker commits",
    "isolation.level": "nothing: it is read_committed",
    "enable.idempotence": "nothing: it is on",
    "queue.buffering.max.messages": "--transaction-records",
    "queue.buffering.max.kbytes": "--transaction-records",
    "message.max.bytes": "the topics' own max.message.bytes",
    "schema.registry.url": "--schema-registry",
}
_REGISTRY = "schema.registry."  # not librdkafka's
_BATCH_BYTES = 1 << 18
_COOPERATIVE = "cooperative-sticky"
# Of the consumer alone or of the producer alone: the other one would warn.
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
    """The user's properties; what comes later here wins: files, the environment, the command line.

    Args:
        pairs: `key=value`; `key=@path` reads the value from a file.
        files: with a line `key=value` each; `#` begins a comment.
        environment: of which `MILLSTREAM_KAFKA_SASL_PASSWORD` is the property `sasl.password`.

    Raises:
        ConfigurationError: a property cannot be read, or has a flag of its own.
    """
    found: dict[str, str] = {}
    for path in files:
        lines = _read(path).splitlines()
        found |= dict(_pair(line, str(path)) for line in lines if line.strip() and not line.startswith("#"))
    found |= {
        name.removeprefix(_PREFIX).lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith(_PREFIX)
    }
    found |= dict(_pair(pair, "--property") for pair in pairs)
    for key in found:
        if key in _RESERVED:
            raise ConfigurationError(f"the property {key} is set by {_RESERVED[key]}: leave it out")
    strategy = found.get("partition.assignment.strategy", _COOPERATIVE)
    if strategy != _COOPERATIVE:
        raise ConfigurationError(
            f"partition.assignment.strategy is {strategy}: it must be {_COOPERATIVE}, "
            "or use group.protocol=consumer"
        )
    return {key: _from_file(key, value) for key, value in found.items()}


def _pair(text: str, where: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        # The text is not shown: it may be a secret.
        raise ConfigurationError(f"{where} holds something that is not KEY=VALUE")
    return key.strip(), value.strip()


def _from_file(key: str, value: str) -> str:
    if not value.startswith("@"):
        return value
    try:
        return _read(Path(value[1:])).strip()
    except ConfigurationError as error:
        raise ConfigurationError(f"the property {key}: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def shown(properties: Mapping[str, str]) -> dict[str, str]:
    """Properties for people to see: secrets are hidden."""
    return {
        key: "(hidden)" if any(word in key for word in _SECRET) else value
        for key, value in properties.items()
    }


def consumer_properties(
    properties: Mapping[str, str], *, brokers: str, group: str, instance: str | None
) -> dict[str, str]:
    """What the consumer is made with."""
    own = {
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": "100",
        "queued.max.messages.kbytes": "16384",  # of each partition
        "fetch.queue.backoff.ms": "20",  # after a second, the default, a fast worker has been idle for long
        "statistics.interval.ms": "5000",
    }
    if properties.get("group.protocol", "classic") == "classic":
        own["partition.assignment.strategy"] = _COOPERATIVE
    users = {
        key: value for key, value in properties.items() if not key.startswith((*_PRODUCER_ONLY, _REGISTRY))
    }
    fixed = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "isolation.level": "read_committed",
    }
    static = {"group.instance.id": instance} if instance else {}
    return own | users | fixed | static


def producer_properties(
    properties: Mapping[str, str],
    *,
    brokers: str,
    transactional_id: str | None,
    least_bytes: int,
    most_bytes: int,
) -> dict[str, str]:
    """What the producer is made with.

    Args:
        properties: the user's.
        brokers: where the cluster is.
        transactional_id: for exactly-once.
        least_bytes: what every topic takes as a batch of messages.
        most_bytes: what one of the topics takes as a message.
    """
    own = {
        "linger.ms": "5",
        "batch.size": str(min(_BATCH_BYTES, least_bytes)),
        "partitioner": "murmur2_random",  # as Java's: records stay beside those of other writers
        "transaction.timeout.ms": "30000",
    }
    users = {
        key: value for key, value in properties.items() if not key.startswith((*_CONSUMER_ONLY, _REGISTRY))
    }
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
    made.setdefault("message.timeout.ms", str(int(int(made["transaction.timeout.ms"]) * 0.8)))
    return made | {"transactional.id": transactional_id}


def matches(wanted: str, topic: str) -> bool:
    """Whether an input is this topic, or a regular expression that matches it, as for librdkafka.

    Raises:
        ConfigurationError: the expression cannot be read.
    """
    if not wanted.startswith("^"):
        return wanted == topic
    try:
        return re.search(wanted, topic) is not None
    except re.error as error:
        raise ConfigurationError(f"cannot read the regular expression {wanted!r}: {error}") from error
