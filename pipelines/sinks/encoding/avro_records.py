"""Enriched records as Avro messages that begin with the id of their schema.

Records that arrive as Avro are not encoded again: their bytes are copied, and the vector, the model version
and the scores are appended; the output's schema has these fields at its end. Other records are encoded from
their columns. A model with other heads leads to another schema.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import fastavro
import msgspec
import pyarrow as pa

from encoder.errors import ConfigurationError
from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.formats.avro.reader import AvroSlices
from pipelines.formats.avro.types import avro_columns, avro_schema
from pipelines.formats.schema_registry import HEADER, Schema, SchemaError, header, schema_id
from pipelines.kafka.registry import Registry
from pipelines.sinks.encoding.avro import encoded_records, encoded_vectors, score_batch
from pipelines.sinks.encoding.avro_schema import kept_fields, with_vectors

__all__ = ["AvroFromAvro", "AvroFromColumns", "subject_of"]


def subject_of(topic: str) -> str:
    """The subject with the schemas of a topic's values, as Confluent's clients name it by default."""
    return f"{topic}-value"


class _Subjects:
    """The subjects of output topics."""

    def __init__(self, registry: Registry, topics: Sequence[str]) -> None:
        self._registry = registry
        self._subjects = [subject_of(topic) for topic in topics]

    def preview(self, schema: Schema) -> list[tuple[str, str]]:
        """What registering a schema would do, by subject; nothing is registered.

        Raises:
            ConfigurationError: a subject would not accept it.
            RegistryUnavailable: the registry does not answer.
        """
        found = []
        for subject in self._subjects:
            known = self._registry.registered(subject, schema)
            if known is None and not self._registry.fits(subject, schema):
                raise ConfigurationError(
                    f"the schema of the output is not compatible with those of {subject!r} in the schema "
                    f"registry {self._registry.url}: write to another topic, or change the subject's "
                    f"compatibility; it is {schema.text}"
                )
            found.append((subject, "to be registered" if known is None else f"id {known}"))
        return found

    def header(self, schema: Schema) -> bytes:
        """Register a schema; gives the header of its messages."""
        ids = {self._registry.register(subject, schema) for subject in self._subjects}
        if len(ids) > 1:
            raise ConfigurationError(
                f"the schema registry {self._registry.url} gives one schema different ids in its subjects "
                f"({', '.join(self._subjects)}): write to one topic"
            )
        return header(ids.pop())


def _added_fields(made: EnrichedBatch, scores: pa.RecordBatch) -> list[bytes]:
    """The bytes to append to each record."""
    tails = encoded_vectors(made.batch.column("embedding"), made.label)
    if not scores.num_columns:
        return tails
    kind: Any = fastavro.parse_schema(avro_schema(scores.schema, "scores"))
    more = encoded_records(scores.to_pylist(maps_as_pydicts="strict"), kind)
    return [tail + scored for tail, scored in zip(tails, more, strict=True)]


class AvroFromAvro:
    """Makes messages of records that arrive as Avro.

    Args:
        registry: of the schemas.
        topics: where the messages go.
        fields: to keep, or None for all.
        vectors: how vectors are written.
        scores: the expected columns of heads, from `score_schema`.
    """

    def __init__(
        self,
        registry: Registry,
        topics: Sequence[str],
        fields: Sequence[str] | None,
        vectors: VectorFormat,
        scores: pa.Schema,
    ) -> None:
        self._scores = scores
        self._registry = registry
        self._subjects = _Subjects(registry, topics)
        self._fields = fields
        self._vectors = vectors
        self._plans: dict[bytes, tuple[bytes, AvroSlices | None]] = {}

    def preview(self, known: Iterable[Schema], /) -> list[tuple[str, str]]:
        """What registering the output's schemas would do, by subject; nothing is registered."""
        return [found for schema in known for found in self._subjects.preview(self._added(schema))]

    def prepare(self, known: Iterable[Schema], /) -> None:
        """Register the output's schemas for schemas of the input; raises what a call raises."""
        for schema in known:
            self._subjects.header(self._added(schema))

    def _added(self, schema: Schema) -> Schema:
        try:
            return with_vectors(schema, self._fields, self._vectors, self._scores)
        except SchemaError as error:
            raise ConfigurationError(f"the schema of the input cannot be enriched: {error}") from error

    def __call__(self, made: EnrichedBatch) -> list[bytes]:
        """The messages of records.

        Raises:
            RegistryUnavailable: a schema is new, and the registry does not answer.
            ConfigurationError: it refuses the schema of the output.
        """
        messages = []
        scores = score_batch(made.scores)
        if scores.schema != self._scores:  # another model
            self._scores = scores.schema
            self._plans.clear()
        for value, tail in zip(made.values, _added_fields(made, scores), strict=True):
            assert value is not None
            head, cut = self._plans.get(value[:HEADER]) or self._plan(value)
            body = value[HEADER:] if cut is None else cut(value)
            messages.append(head + body + tail)
        return messages

    def _plan(self, value: bytes) -> tuple[bytes, AvroSlices | None]:
        schema = self._registry.schema(schema_id(value) or 0)
        assert schema is not None
        keep = kept_fields(schema, self._fields, self._scores)
        whole = keep == kept_fields(schema, None) and not set(_names(schema)) - set(keep)
        plan = self._subjects.header(self._added(schema)), None if whole else AvroSlices(schema, keep)
        self._plans[value[:HEADER]] = plan
        return plan


def _names(schema: Schema) -> list[str]:
    return [field["name"] for field in msgspec.json.decode(schema.text)["fields"]]


class AvroFromColumns:
    """Makes messages of records from their columns.

    Args:
        registry: of the schemas.
        topics: where the messages go; the schema is named after the first one.
        columns: of the records, without the added ones.
        vectors: how vectors are written.
        scores: the expected columns of heads, from `score_schema`.

    Raises:
        ConfigurationError: Avro does not have the name or the type of a column.
    """

    def __init__(
        self,
        registry: Registry,
        topics: Sequence[str],
        columns: pa.Schema,
        vectors: VectorFormat,
        scores: pa.Schema,
    ) -> None:
        self._scores, self._vectors = scores, vectors
        self._subjects = _Subjects(registry, topics)
        self._columns = pa.schema([field.with_type(avro_columns(field.type)) for field in columns])
        self._same = self._columns == columns
        plain = avro_schema(self._columns, _record_name(topics[0]))
        self._parsed: Any = fastavro.parse_schema(plain)
        self._plain = Schema("AVRO", msgspec.json.encode(plain).decode())
        self._header: bytes | None = None

    def preview(self, _known: Iterable[Schema] = (), /) -> list[tuple[str, str]]:
        """What registering the output's schema would do, by subject; nothing is registered."""
        return self._subjects.preview(self._schema())

    def prepare(self, _known: Iterable[Schema] = (), /) -> None:
        """Register the output's schema."""
        self._header = self._subjects.header(self._schema())

    def _schema(self) -> Schema:
        return with_vectors(self._plain, None, self._vectors, self._scores)

    def __call__(self, made: EnrichedBatch) -> list[bytes]:
        """The messages of records."""
        scores = score_batch(made.scores)
        if scores.schema != self._scores:  # another model; its schema may have to wait for the registry
            self._scores, self._header = scores.schema, None
        if self._header is None:
            self.prepare()
        batch = made.batch.select(self._columns.names)
        if not self._same:
            batch = batch.cast(self._columns)
        head = self._header or b""
        bodies = encoded_records(batch.to_pylist(maps_as_pydicts="strict"), self._parsed)
        tails = _added_fields(made, scores)
        return [head + body + tail for body, tail in zip(bodies, tails, strict=True)]


def _record_name(topic: str) -> str:
    """A topic's name as an Avro name: letters, digits and _, not beginning with a digit."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", topic)
    return f"_{name}" if name[0].isdigit() else name
