"""Getting into a cluster: a client for questions, and one line on what is wrong where it lets us not in.

Librdkafka tells only an error callback why a broker refused, and goes on trying. Here its words are
collected while a first question waits for its answer.
"""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AclOperation, AdminClient

from encoder.errors import ConfigurationError, MillstreamError, TransientError

__all__ = ["check_group", "check_transactions", "connect"]

_ADMIN = ("security.", "sasl.", "ssl.", "socket.", "broker.address", "client.id", "enable.s")
_ASK_SECONDS = 20.0
_TRY_SECONDS = 1.0
_WHERE = re.compile(r"^\w+://[^ ]*: | \(after \d+ms in state \w+\)$|^\S+/bootstrap: ")


def connect(brokers: str, properties: Mapping[str, str]) -> AdminClient:
    """A client that the cluster has answered.

    Args:
        brokers: HOST:PORT, several separated by commas.
        properties: the user's.

    Raises:
        ConfigurationError: a property does not fit, or the brokers do not let this user in.
        TransientError: the cluster does not answer.
    """
    errors: list[KafkaError] = []
    own: dict[str, Any] = {"bootstrap.servers": brokers, "log_level": "0", "error_cb": errors.append}
    try:
        admin = AdminClient({**own, **{k: v for k, v in properties.items() if k.startswith(_ADMIN)}})
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
                raise TransientError(_silence(errors, error)) from error
        else:
            return admin


def _refusal(errors: Sequence[KafkaError], properties: Mapping[str, str]) -> MillstreamError | None:
    """What is wrong with how we come in, or None where waiting may help."""
    for error in errors:
        why = _WHERE.sub("", _WHERE.sub("", error.str()))
        if error.code() == KafkaError._AUTHENTICATION:
            user = properties.get("sasl.username") or properties.get("sasl.oauthbearer.client.id")
            whom = f"user {user!r}" if user else "this user"
            return ConfigurationError(
                f"the brokers do not let {whom} in ({why}): look at sasl.mechanism and at the name and the "
                "secret among the sasl.* properties"
            )
        if "certificate verify failed" in why:
            return ConfigurationError(
                "the brokers' certificate cannot be verified: name the authority that signed it with "
                "--property ssl.ca.location=FILE"
            )
        if "alert bad certificate" in why or "alert certificate required" in why:
            return ConfigurationError(
                "the brokers want a certificate of this client: give ssl.certificate.location and "
                "ssl.key.location"
            )
        if "PLAINTEXT broker listener" in why:
            return ConfigurationError(
                "the brokers do not speak TLS on this port: look at --brokers and security.protocol"
            )
        if error.code() == KafkaError._SSL:
            return ConfigurationError(f"TLS with the brokers fails ({why}): look at the ssl.* properties")
    return None


def _silence(errors: Sequence[KafkaError], last: KafkaException) -> str:
    unknown = [error for error in errors if error.code() == KafkaError._RESOLVE]
    why = _WHERE.sub("", _WHERE.sub("", (unknown[0] if unknown else last.args[0]).str()))
    return (
        f"the brokers do not answer ({why}): look at --brokers, at the network, and at security.protocol if "
        "they speak TLS or SASL"
    )


def check_group(admin: AdminClient, group: str) -> None:
    """Look whether we may be a member of a group.

    Raises:
        ConfigurationError: we may not.
    """
    futures = admin.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=_ASK_SECONDS
    )
    refused = ConfigurationError(f"this user may not use group {group!r}: allow it READ on the group")
    try:
        allowed = futures[group].result().authorized_operations
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise refused from error
        return  # a group that is not there yet has nothing to tell
    if allowed and AclOperation.READ not in allowed:
        raise refused


def check_transactions(brokers: str, properties: Mapping[str, str], prefix: str) -> None:
    """Look whether we may have transactions, by a transactional id that nobody uses.

    Args:
        brokers: see `connect`.
        properties: the user's.
        prefix: of transactional ids.

    Raises:
        ConfigurationError: we may not.
    """
    own = {"bootstrap.servers": brokers, "log_level": "0", "transactional.id": f"{prefix}{uuid.uuid4().hex}"}
    producer = Producer({**own, **{k: v for k, v in properties.items() if k.startswith(_ADMIN)}})
    try:
        producer.init_transactions(_ASK_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            raise ConfigurationError(
                f"this user may not have transactions: allow it WRITE and DESCRIBE on transactional ids that "
                f"begin with {prefix!r}, or use --delivery at-least-once"
            ) from error
        raise TransientError(f"transactions cannot be begun: {error.args[0].str()}") from error
