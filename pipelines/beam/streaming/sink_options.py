"""The options of a stream's sink, and the sink that they name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from encoder.errors import ConfigurationError, MissingExtra
from encoder.reference import store_uri
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.streaming.sinks.messages import MessageEncoder
from pipelines.beam.streaming.sinks.parquet import ParquetSink, WindowFile
from pipelines.beam.streaming.source_options import check_pubsub
from pipelines.enrich import Tombstones
from pipelines.enrich.enrichment import Enrichment
from pipelines.formats import MessageFormat
from pipelines.records.template import TextTemplate
from pipelines.sinks.tables.partitioning import parse_partition_by

__all__ = ["SinkOptions"]

Kind = Literal["parquet", "kafka", "pubsub"]
_KINDS = "parquet:URI, kafka:TOPIC or pubsub:projects/PROJECT/topics/TOPIC"


@dataclass(frozen=True)
class SinkOptions:
    """The options of a sink.

    Attributes:
        uri: `parquet:URI`, `kafka:TOPIC` or `pubsub:projects/PROJECT/topics/TOPIC`.
        dead_letters: for topics: `files:URI`, or another topic of the same kind.
        format: the format of a topic's messages.
        key: a column or template for Kafka message keys; None keeps those of the source.
        shards: Parquet files of a window.
        brokers: Kafka's `HOST:PORT`.
        properties: librdkafka's properties.
        tombstones: what becomes of deletes: messages with a key and a null value.
        delete_columns: whether Parquet rows and Arrow messages have the columns of deletes.
        partition_by: by what rows of Parquet files are kept apart, in folders, as in `day(at),country`.
    """

    uri: str
    dead_letters: str | None = None
    format: MessageFormat = "json"
    key: str | None = None
    shards: int = 1
    brokers: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    tombstones: Tombstones = "pass"
    delete_columns: bool = False
    partition_by: str | None = None

    @property
    def kind(self) -> Kind:
        """What it is.

        Raises:
            ConfigurationError: it is none of the three.
        """
        kind, _, target = self.uri.partition(":")
        if kind not in get_args(Kind) or not target:
            raise ConfigurationError(f"cannot use --output {self.uri}: write {_KINDS}")
        return cast("Kind", kind)

    @property
    def target(self) -> str:
        """The URI of the folder, or the name of the topic."""
        target = self.uri.partition(":")[2]
        return store_uri(target) if self.kind == "parquet" else target

    @property
    def key_fields(self) -> Sequence[str]:
        """The fields that make the key.

        Raises:
            ConfigurationError: the sink has no keys.
            TemplateError: the template cannot be parsed.
        """
        if self.key is None:
            return ()
        if self.kind != "kafka" or self.format == "arrow":
            raise ConfigurationError("--key is for Kafka messages of one record each: leave it out")
        return TextTemplate.parse(self.key).fields

    def sink(self, model: StreamModel, enrichment: Enrichment, windows: Windows) -> Sink:
        """Create the sink.

        Args:
            model: the model.
            enrichment: the text template, the columns to keep, the format of the vectors, the heads.
            windows: windows of event time, for files.

        Raises:
            ConfigurationError: a topic does not exist, or the option for dead letters is missing or wrong, or
                no output has columns for deletes.
        """
        if self.delete_columns and self.kind != "parquet" and self.format != "arrow":
            raise ConfigurationError("--delete-columns is for Parquet and Arrow outputs: leave it out")
        if self.delete_columns and self.tombstones != "pass":
            raise ConfigurationError(
                f"--delete-columns is for deletes that are passed on, not for --tombstones "
                f"{self.tombstones}: use one of them"
            )
        partitions = parse_partition_by(self.partition_by)
        if partitions and self.kind != "parquet":
            raise ConfigurationError("--partition-by is for Parquet outputs: leave it out")
        if self.kind == "parquet":
            if self.dead_letters is not None:
                raise ConfigurationError(
                    "--dead-letters is for topics: a Parquet output has its own folder dead_letters/"
                )
            file = WindowFile(
                model,
                enrichment,
                self.target,
                self.tombstones,
                delete_columns=self.delete_columns,
                partitions=partitions,
            )
            return ParquetSink(windows, self.shards, file)
        key = None if self.key is None else TextTemplate.parse(self.key)
        messages = MessageEncoder(
            model,
            enrichment,
            self.format,
            key,
            self.tombstones,
            delete_columns=self.delete_columns,
            null_values=self.kind == "kafka",
        )
        kind, _, dead_letters = (self.dead_letters or "").partition(":")
        if kind not in ("files", self.kind) or not dead_letters:
            choices = f"{self.kind}:ANOTHER_TOPIC or files:URI"
            raise ConfigurationError(f"--output {self.uri} needs --dead-letters {choices}")
        if dead_letters == self.target:
            raise ConfigurationError(f"--dead-letters {self.dead_letters} is the output: name another topic")
        folder = store_uri(dead_letters) if kind == "files" else None
        if self.kind == "kafka":
            return self._kafka(messages, folder or dead_letters, is_folder=folder is not None)
        return self._pubsub(messages, folder or dead_letters)

    def _kafka(self, messages: MessageEncoder, dead_letters: str, *, is_folder: bool) -> Sink:
        try:
            from pipelines.beam.streaming.sinks.kafka import KafkaSink, KafkaTopic
            from pipelines.kafka.admin import check_topics, connect, max_message_bytes, time_limits
            from pipelines.kafka.config import producer_properties
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "confluent_kafka", "kafka") from error
        if self.brokers is None:
            raise ConfigurationError(f"--output {self.uri} needs --brokers HOST:PORT")
        names = [self.target] if is_folder else [self.target, dead_letters]
        admin = connect(self.brokers, self.properties)
        check_topics(admin, [], names)
        sizes, limits = max_message_bytes(admin, names), time_limits(admin, names)
        properties = producer_properties(
            self.properties,
            brokers=self.brokers,
            transactional_id=None,
            least_bytes=min(sizes.values()),
            most_bytes=max(sizes.values()),
        )
        topics = {name: KafkaTopic(name, sizes[name], limits[name]) for name in names}
        bad = dead_letters if is_folder else topics[dead_letters]
        return KafkaSink(topics[self.target], bad, properties, messages)

    def _pubsub(self, messages: MessageEncoder, dead_letters: str) -> Sink:
        check_pubsub()
        from pipelines.beam.streaming.sinks.pubsub import PubSubSink

        for path in [self.target, *([] if "://" in dead_letters else [dead_letters])]:
            if not re.fullmatch("projects/[^/]+/topics/[^/]+", path):
                raise ConfigurationError(f"cannot publish to {path}: write projects/PROJECT/topics/TOPIC")
        return PubSubSink(self.target, dead_letters, messages)
