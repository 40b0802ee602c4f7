"""The schema registry: which schema an id means, and ids for schemas of our own.

This is the port: whatever the client or the network raises leaves it as an error of ours, and no message
shows a user or a password. Answers are kept for as long as the process lives, since an id never changes its
meaning; that an id is unknown is kept for a few seconds, since it may be registered a moment later.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from encoder.errors import ConfigurationError, MissingExtra, RegistryUnavailable
from pipelines.formats.schema_registry import Schema
from pipelines.kafka.registry_answers import PREFIX, is_missing, refusal, shown_url
from pipelines.records.bad_rows import one_line

__all__ = ["EXTRA", "Registry", "Version", "open_registry"]

EXTRA = "kafka-schemas"
_TIMEOUT_SECONDS = 5.0
_UNKNOWN_SECONDS = 10.0
_MOST_UNKNOWN = 10_000


class Version(NamedTuple):
    """A schema as the latest of a subject.

    Attributes:
        schema_id: its id.
        number: its version in the subject.
        schema: itself.
    """

    schema_id: int
    number: int
    schema: Schema


class Registry:
    """A schema registry.

    Args:
        client: confluent_kafka's SchemaRegistryClient.
        url: of the registry, for people.
        serialized: ask for schemas in a form that needs no compiler, which is there for Protobuf.
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
        """The schema with an id, or None if the registry has none.

        Raises:
            RegistryUnavailable: the registry does not answer.
            ConfigurationError: it refuses.
        """
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
        """The latest version of a subject, or None if there is no such subject; the errors are `schema`'s."""
        self._ask(self._client.clear_latest_caches)
        found = self._ask(lambda: self._client.get_latest_version(subject, self._format))
        return None if found is None else Version(found.schema_id, found.version, self._whole(found.schema))

    def _whole(self, found: Any) -> Schema:
        """A schema with all that it refers to."""
        parts: dict[str, str] = {}
        self._collect(found, parts)
        return Schema(found.schema_type or "AVRO", found.schema_str, tuple(found.references or ()), parts)

    def _collect(self, found: Any, parts: dict[str, str]) -> None:
        """Gather what a schema refers to, what others rest on first."""
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
        """The id that a schema of ours has in a subject, or None; the errors are those of `schema`."""
        found = self._ask(lambda: self._client.lookup_schema(subject, _sent(schema)))
        return None if found is None else int(found.schema_id)

    def fits(self, subject: str, schema: Schema) -> bool:
        """Whether a subject would take a schema of ours; nothing is registered.

        Raises:
            RegistryUnavailable: the registry does not answer.
            ConfigurationError: it refuses, or the subject is read-only.
        """
        if self.url.startswith("mock:"):
            return True  # the client's own registry takes anything, and cannot be asked
        if self._mode(subject) in ("READONLY", "READONLY_OVERRIDE"):
            raise ConfigurationError(
                f"subject {subject!r} of the schema registry {self.url} is read-only: register the schema "
                f"there yourself: {schema.text}"
            )
        answer = self._ask(lambda: self._client.test_compatibility(subject, _sent(schema)))
        return answer is None or bool(answer)

    def _mode(self, subject: str) -> str | None:
        """Whether a subject can be written, where the registry knows of such modes."""
        try:
            mode = self._ask(lambda: self._client.get_mode(subject))
            return str(mode or self._ask(self._client.get_global_mode))
        except RegistryUnavailable:
            return None

    def register(self, subject: str, schema: Schema) -> int:
        """Give a schema of ours an id in a subject, the same one each time.

        One that is there already needs no permission to write.

        Raises:
            RegistryUnavailable: the registry does not answer.
            ConfigurationError: it refuses: the schema does not go with the others, or is not for us.
        """
        known = self.registered(subject, schema)
        if known is not None:
            return known
        made = self._ask(lambda: self._client.register_schema(subject, _sent(schema)), subject)
        if made is None:
            raise RegistryUnavailable(f"the schema registry {self.url} has no place for subject {subject!r}")
        return int(made)

    def _ask(self, question: Callable[[], Any], subject: str | None = None) -> Any:
        """The answer, or None if it is that the registry does not have it."""
        try:
            return question()
        except Exception as error:  # noqa: BLE001 - a port: whatever the client and its libraries raise
            if is_missing(error):
                return None
            raise refusal(error, self.url, subject) from None  # its texts may show a password


def _sent(schema: Schema) -> Any:
    from confluent_kafka.schema_registry import Schema as Sent

    return Sent(schema.text, schema.kind, list(schema.references))


def open_registry(url: str, properties: Mapping[str, str], *, serialized: bool = False) -> Registry:
    """Make a registry; nothing is asked yet.

    Args:
        url: HTTP or HTTPS, several separated by commas; `mock://` is the client's own, empty and in memory.
        properties: of which those that begin with `schema.registry.` are for the client.
        serialized: see `Registry`.

    Raises:
        ConfigurationError: the client does not take a property.
        MissingExtra: the client's libraries are not installed.
    """
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "confluent_kafka.schema_registry", EXTRA) from error
    options: dict[str, Any] = {"url": url, "timeout": _TIMEOUT_SECONDS, "max.retries": 0}
    for key, value in properties.items():
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            options[name] = _number(value) if name in _NUMBERS else value
    try:
        client = SchemaRegistryClient.new_client(options)
    except Exception as error:  # noqa: BLE001 - a port; and its text may show what is secret
        secrets = [value for value in map(str, options.values()) if len(value) > 2]
        said = one_line(error)
        for secret in secrets:
            said = said.replace(secret, "…")
        raise ConfigurationError(
            f"the schema registry {shown_url(url)} cannot be used: {said}: look at --schema-registry and the "
            f"properties that begin with {PREFIX}"
        ) from None
    return Registry(client, url, serialized=serialized)


_NUMBERS = frozenset(
    {
        "timeout",
        "cache.capacity",
        "cache.latest.ttl.sec",
        "max.retries",
        "retries.wait.ms",
        "retries.max.wait.ms",
    }
)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigurationError(f"a property of the schema registry is {value!r}: write a number") from error
