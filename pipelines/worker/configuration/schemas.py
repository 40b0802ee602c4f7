"""Schemas of a worker: those that decode its input, and those of its output."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from encoder.errors import ConfigurationError, MissingExtra
from pipelines.formats.messages import Value
from pipelines.formats.schema_registry import (
    FieldTypes,
    FramedDecoder,
    Reader,
    Schema,
    SchemaError,
    schema_id,
)
from pipelines.kafka.registry import EXTRA, Registry, open_registry
from pipelines.worker.configuration.columns import kept_columns
from pipelines.worker.configuration.plan import Plan

if TYPE_CHECKING:
    from pipelines.sinks.encoding.avro_records import AvroFromAvro, AvroFromColumns

__all__ = ["Known", "Schemas"]


class Known(NamedTuple):
    """A schema of the input, and how to describe it."""

    about: str
    schema: Schema


class Schemas:
    """The schemas of a worker's input and output.

    Args:
        plan: of the worker.
        registry: used in place of the one that the settings name.

    Raises:
        MissingExtra: a library is not installed.
        ConfigurationError: the registry's client refuses its properties.
    """

    def __init__(self, plan: Plan, registry: Registry | None = None) -> None:
        self._plan, settings = plan, plan.settings
        self._kind = settings.input_format.upper()
        if registry is None:
            assert settings.schema_registry is not None
            registry = open_registry(
                settings.schema_registry, plan.properties, serialized=settings.input_format == "protobuf"
            )
        self.registry = registry
        self._compile = self._compiler() if plan.uses_registry else None

    def _compiler(self) -> Callable[[Schema, pa.Schema | None], Reader]:
        try:
            if self._plan.settings.input_format == "avro":
                from pipelines.formats.avro.reader import AvroReader

                return AvroReader
            from pipelines.formats.protobuf.reader import ProtobufReader
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or self._plan.settings.input_format, EXTRA) from error
        return ProtobufReader

    def decoder(self, columns: pa.Schema | None = None) -> FramedDecoder:
        """A decoder of the input; with columns, records must fit them."""
        assert self._compile is not None
        return FramedDecoder(self._kind, self.registry.schema, self._compile, columns)

    def known(self, topics: Sequence[str]) -> list[Known]:
        """The latest schemas of the input topics' subjects; a topic without a subject has none.

        Raises:
            RegistryUnavailable: the registry does not answer.
            ConfigurationError: it refuses, or a schema is not of the input's format.
        """
        if self._compile is None:
            return []
        found = []
        for topic in topics:
            subject = f"{topic}-value"
            version = self.registry.latest(subject)
            if version is None:
                continue
            if version.schema.kind != self._kind:
                raise ConfigurationError(
                    f"subject {subject!r} in the schema registry {self.registry.url} is "
                    f"{version.schema.kind}, not {self._kind}: correct --input-format or --input"
                )
            about = f"subject {subject}, version {version.number}, id {version.schema_id}"
            found.append(Known(about, version.schema))
        return found

    def of_sample(self, sample: Sequence[Value]) -> list[Known]:
        """The schemas of a sample of values."""
        ids = sorted({number for value in sample if value and (number := schema_id(value)) is not None})
        found = ((number, self.registry.schema(number)) for number in ids)
        return [Known(f"id {n}", schema) for n, schema in found if schema and schema.kind == self._kind]

    def fields(self, sample: Sequence[Value], topics: Sequence[str]) -> FieldTypes:
        """The fields of the input, from a sample, or from the latest schemas if the sample has none."""
        types = self.decoder().fields(sample)
        if types or self._compile is None:
            return types
        for one in self.known(topics):
            try:
                types = self._compile(one.schema, None).fields(None) | types
            except SchemaError as error:
                raise ConfigurationError(f"cannot use the input's schema: {error}") from error
        return types

    def messages(
        self, columns: pa.Schema | None, heads: Sequence[pa.Field]
    ) -> "AvroFromAvro | AvroFromColumns":
        """An encoder of records as Avro messages.

        Args:
            columns: of the records, if they do not come as Avro.
            heads: the columns of the model's heads.

        Raises:
            MissingExtra: fastavro is not installed.
            ConfigurationError: Avro cannot hold a column.
        """
        try:
            from pipelines.sinks.encoding.avro import score_schema
            from pipelines.sinks.encoding.avro_records import AvroFromAvro, AvroFromColumns
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "fastavro", EXTRA) from error
        plan, scores = self._plan, score_schema(heads)
        if plan.settings.input_format == "avro" or columns is None:
            return AvroFromAvro(self.registry, plan.topics, plan.fields, plan.vectors, scores)
        kept = pa.schema([columns.field(name) for name in kept_columns(plan, columns)])
        return AvroFromColumns(self.registry, plan.topics, kept, plan.vectors, scores)
