"""The schema registry: the schema of an id, and ids for our own schemas.

Whatever the client or the network raises becomes an error of ours that shows no user and no password.
Schemas are cached for the life of the process, since an id never changes its meaning; an unknown id is cached
for a few seconds only, since it may be registered a moment later.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from encoder.errors import ConfigurationError, MissingExtra, RegistryUnavailable
from pipelines.formats.schema_registry import Schema
from pipelines.kafka.config import REGISTRY_PREFIX
from pipelines.records.bad_rows import one_line

__all__ = ["EXTRA", "Registry", "Version", "open_registry", "shown_url"]

EXTRA = "kafka-schemas"
_TIMEOUT_SECONDS = 5.0
_UNKNOWN_SECONDS = 10.0
_MOST_UNKNOWN = 10_000
_NUMBERS = (
    "timeout",
    "cache.capacity",
    "cache.latest.ttl.sec",
    "max.retries",
    "retries.wait.ms",
    "retries.max.wait.ms",
)

# The registry's own codes for an unknown subject, version or schema. A 404 without one of them comes from
# something else at that address, and says nothing about the schema.
_NOT_FOUND = (40400, 40401, 40402, 40403, 40406, 40409)


class Version(NamedTuple):
    """The latest schema of a subject.

    Attributes:
        schema_id: its id.
        number: its version in the subject.
        schema: the schema.
    """

    schema_id: int
    number: int
    schema: Schema


class Registry:
    """A schema registry. Its methods raise `RegistryUnavailable` and `ConfigurationError`.

    Args:
        client: confluent_kafka's SchemaRegistryClient.
        url: of the registry.
        serialized: ask for Protobuf schemas in the form that needs no compiler.
        clock: gives seconds.
    """

    def __init__(
        self,
        client: Any,
        url: str,
        *,
        serialized: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = shown_url(url)
        self._client = client
        self._format = "serialized" if serialized else None
        self._deleted = {"deleted": True, "fmt": self._format}  # records outlive their schemas' subjects
        self._clock = clock
        self._schemas: dict[int, Schema] = {}
        self._unknown: dict[int, float] = {}

    def schema(self, schema_id: int) -> Schema | None:
        """The schema with an id, or None if the registry has none."""
        if (known := self._schemas.get(schema_id)) is not None:
            return known
        if self._clock() < self._unknown.get(schema_id, 0.0):
            return None
        found = self._ask(lambda: self._client.get_schema(schema_id, fmt=self._format))
        if found is None:
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[schema_id] = self._clock() + _UNKNOWN_SECONDS
            return None
        self._schemas[schema_id] = made = self._whole(found)
        return made

    def latest(self, subject: str) -> Version | None:
        """The latest version of a subject, or None if there is no such subject."""
        self._ask(self._client.clear_latest_caches)
        found = self._ask(lambda: self._client.get_latest_version(subject, self._format))
        return None if found is None else Version(found.schema_id, found.version, self._whole(found.schema))

    def _whole(self, found: Any) -> Schema:
        """A schema with all schemas that it refers to."""
        parts: dict[str, str] = {}
        kind = found.schema_type or "AVRO"
        if kind != "JSON":  # which nobody reads here: what it refers to must not be missed
            self._collect(found, parts)
        return Schema(kind, found.schema_str, tuple(found.references or ()), parts)

    def _collect(self, found: Any, parts: dict[str, str]) -> None:
        """Collect the schemas that a schema refers to, each after those that it refers to itself."""
        for one in found.references or ():
            if one.name in parts:
                continue
            there = self._ask(partial(self._client.get_version, one.subject, one.version, **self._deleted))
            if there is None:
                raise RegistryUnavailable(
                    f"the schema registry {self.url} has a schema that refers to version {one.version} of "
                    f"{one.subject!r}, and does not have that: register it"
                )
            self._collect(there.schema, parts)
            parts[one.name] = there.schema.schema_str

    def registered(self, subject: str, schema: Schema) -> int | None:
        """The id that a schema of ours has in a subject, or None."""
        found = self._ask(lambda: self._client.lookup_schema(subject, _sent(schema)))
        return None if found is None else int(found.schema_id)

    def fits(self, subject: str, schema: Schema) -> bool:
        """Whether a subject would accept a schema of ours; nothing is registered.

        Raises:
            ConfigurationError: the subject is read-only.
        """
        if self.url.startswith("mock:"):
            return True  # the client's own registry accepts anything, and has no such endpoint
        if self._mode(subject) in ("READONLY", "READONLY_OVERRIDE"):
            raise ConfigurationError(
                f"subject {subject!r} of the schema registry {self.url} is read-only: register the schema "
                f"there yourself: {schema.text}"
            )
        answer = self._ask(lambda: self._client.test_compatibility(subject, _sent(schema)))
        return answer is None or bool(answer)

    def _mode(self, subject: str) -> str | None:
        """The mode of a subject, or None where the registry has no modes."""
        try:
            mode = self._ask(lambda: self._client.get_mode(subject))
            return str(mode or self._ask(self._client.get_global_mode))
        except RegistryUnavailable:
            return None

    def register(self, subject: str, schema: Schema) -> int:
        """Register a schema of ours in a subject, and return its id.

        A schema that is registered already keeps its id, and needs no permission to write.

        Raises:
            ConfigurationError: the subject does not accept the schema, or this user may not register it.
        """
        known = self.registered(subject, schema)
        if known is not None:
            return known
        made = self._ask(lambda: self._client.register_schema(subject, _sent(schema)), subject)
        if made is None:
            raise RegistryUnavailable(f"the schema registry {self.url} has no subject {subject!r}")
        return int(made)

    def _ask(self, question: Callable[[], Any], subject: str | None = None) -> Any:
        """The answer, or None if the registry does not have what was requested."""
        try:
            return question()
        except Exception as error:  # noqa: BLE001 - whatever the client and its libraries raise
            if is_missing(error):
                return None
            raise refusal(error, self.url, subject) from None  # its text may show a password


def _sent(schema: Schema) -> Any:
    from confluent_kafka.schema_registry import Schema as Sent

    return Sent(schema.text, schema.kind, list(schema.references))


def is_missing(error: Exception) -> bool:
    """Whether the registry itself reports that it does not have what was requested."""
    status, code = getattr(error, "http_status_code", None), getattr(error, "error_code", None)
    return status == 404 and code in _NOT_FOUND


def refusal(
    error: Exception, url: str, subject: str | None = None
) -> ConfigurationError | RegistryUnavailable:
    """Translate an error of the client; the message shows no password.

    Args:
        error: any.
        url: of the registry, without a password.
        subject: where a schema was to be registered; None if something was read.
    """
    status = getattr(error, "http_status_code", None)
    said = str(getattr(error, "error_message", None) or "") or str(error) or type(error).__name__
    said = " ".join(said.split())
    if status == 401:
        return ConfigurationError(
            f"the schema registry {url} does not know this user (401): set the property "
            f"{REGISTRY_PREFIX}basic.auth.user.info, or another way to log in"
        )
    if status == 403:
        what = f"register a schema for {subject!r}" if subject else "read schemas"
        return ConfigurationError(f"the schema registry {url} does not let this user {what} (403): {said}")
    if subject is not None and status in (409, 422):
        return ConfigurationError(
            f"the schema registry {url} refuses the schema for {subject!r} ({said}): "
            "write to another topic, or change the subject's compatibility"
        )
    if status in range(400, 500) and status not in (408, 429):  # a retry would get the same answer
        return RegistryUnavailable(f"{url} answers {status} ({said}): is this the URL of a schema registry?")
    return RegistryUnavailable(f"the schema registry {url} does not answer: {said}")


def shown_url(url: str) -> str:
    """A URL, or several separated by commas, without user and password."""
    parts = [urlsplit(one.strip()) for one in url.split(",")]
    return ",".join(urlunsplit(one._replace(netloc=one.netloc.rpartition("@")[2])) for one in parts)


def open_registry(url: str, properties: Mapping[str, str], *, serialized: bool = False) -> Registry:
    """Make a registry; nothing is requested yet.

    Args:
        url: HTTP or HTTPS, several separated by commas; `mock://` is the client's own, in memory and empty.
        properties: the user's; those that begin with `schema.registry.` are for the client.
        serialized: ask for Protobuf schemas in the form that needs no compiler.

    Raises:
        ConfigurationError: the client refuses a property.
        MissingExtra: the client's libraries are not installed.
    """
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "confluent_kafka.schema_registry", EXTRA) from error
    options: dict[str, Any] = {"url": url, "timeout": _TIMEOUT_SECONDS, "max.retries": 0}
    for key, value in properties.items():
        if key.startswith(REGISTRY_PREFIX):
            name = key.removeprefix(REGISTRY_PREFIX)
            options[name] = _number(key, value) if name in _NUMBERS else value
    try:
        client = SchemaRegistryClient.new_client(options)
    except Exception as error:  # noqa: BLE001 - whatever the client raises; its text may show a secret
        said = one_line(error)
        for secret in map(str, options.values()):
            said = said.replace(secret, "…") if len(secret) > 2 else said
        raise ConfigurationError(
            f"cannot use the schema registry {shown_url(url)}: {said}: check --schema-registry and the "
            f"properties that begin with {REGISTRY_PREFIX}"
        ) from None
    return Registry(client, url, serialized=serialized)


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigurationError(f"the property {key} is {value!r}: write a number") from error
