"""Where the records of a stream go: the words of the command line, checked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from encoder.errors import ConfigurationError, MissingExtra
from encoder.reference import store_uri
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.interfaces import Output
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.streaming.sinks.messages import Messages
from pipelines.beam.streaming.sinks.parquet import WindowFile, WindowFiles
from pipelines.beam.streaming.source_options import check_pubsub
from pipelines.enrich.enrichment import Enrichment
from pipelines.formats import MessageFormat
from pipelines.records.template import TextTemplate

__all__ = ["OutputWords"]

Kind = Literal["parquet", "kafka", "pubsub"]
_KINDS = "parquet:URI, kafka:TOPIC or pubsub:projects/PROJECT/topics/TOPIC"


@dataclass(frozen=True)
class OutputWords:
    """The words for an output.

    Attributes:
        text: `parquet:URI`, `kafka:TOPIC` or `pubsub:projects/PROJECT/topics/TOPIC`.
        dead_letters: of a topic: `files:URI`, or another topic beside it, in the same words.
        format: of a topic's messages.
        key: a column or template for the keys of Kafka's messages; None keeps those of the input.
        shards: Parquet files of a window.
        brokers: of Kafka, `HOST:PORT`.
        properties: librdkafka's.
    """

    text: str
    dead_letters: str | None = None
    format: MessageFormat = "json"
    key: str | None = None
    shards: int = 1
    brokers: str | None = None
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What the output is.

        Raises:
            ConfigurationError: nothing that is known.
        """
        kind, _, place = self.text.partition(":")
        if kind not in get_args(Kind) or not place:
            raise ConfigurationError(f"cannot use --output {self.text}: write {_KINDS}")
        return cast("Kind", kind)

    @property
    def place(self) -> str:
        """The URI of the folder, or the name of the topic."""
        place = self.text.partition(":")[2]
        return store_uri(place) if self.kind == "parquet" else place

    @property
    def key_fields(self) -> Sequence[str]:
        """The fields that make the key.

        Raises:
            ConfigurationError: the output has no keys.
            TemplateError: the template cannot be read.
        """
        if self.key is None:
            return ()
        if self.kind != "kafka" or self.format == "arrow":
            raise ConfigurationError("--key is for the single records of a Kafka topic: leave it out")
        return TextTemplate.parse(self.key).fields

    def output(self, model: StreamModel, enrichment: Enrichment, windows: Windows) -> Output:
        """The output.

        Args:
            model: what embeds.
            enrichment: the text template, the columns to keep, the vectors' format.
            windows: of event time, for files.

        Raises:
            ConfigurationError: a topic is not there, or the dead letters have no place.
        """
        if self.kind == "parquet":
            if self.dead_letters is not None:
                raise ConfigurationError("--dead-letters is for topics: those of files stand beside them")
            return WindowFiles(windows, self.shards, WindowFile(model, enrichment, self.place))
        key = None if self.key is None else TextTemplate.parse(self.key)
        messages = Messages(model, enrichment, self.format, key)
        kind, _, letters = (self.dead_letters or "").partition(":")
        if kind not in ("files", self.kind) or not letters:
            words = f"{self.kind}:ANOTHER_TOPIC or files:URI"
            raise ConfigurationError(f"--output {self.text} needs --dead-letters {words}")
        if letters == self.place:
            raise ConfigurationError(f"--dead-letters {self.dead_letters} is the output: name another topic")
        folder = store_uri(letters) if kind == "files" else None
        if self.kind == "kafka":
            return self._kafka(messages, folder or letters, is_folder=folder is not None)
        return self._pubsub(messages, folder or letters)

    def _kafka(self, messages: Messages, letters: str, *, is_folder: bool) -> Output:
        try:
            from pipelines.beam.streaming.sinks.kafka import KafkaOutput, KafkaTopic
            from pipelines.kafka.admin import check_topics, connect, max_message_bytes
            from pipelines.kafka.config import producer_properties
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "confluent_kafka", "kafka") from error
        if self.brokers is None:
            raise ConfigurationError(f"--output {self.text} needs --brokers HOST:PORT")
        names = [self.place] if is_folder else [self.place, letters]
        admin = connect(self.brokers, self.properties)
        check_topics(admin, [], names)
        sizes = max_message_bytes(admin, names)
        properties = producer_properties(
            self.properties,
            brokers=self.brokers,
            transactional_id=None,
            least_bytes=min(sizes.values()),
            most_bytes=max(sizes.values()),
        )
        topic = KafkaTopic(self.place, sizes[self.place])
        return KafkaOutput(
            topic, letters if is_folder else KafkaTopic(letters, sizes[letters]), properties, messages
        )

    def _pubsub(self, messages: Messages, letters: str) -> Output:
        check_pubsub()
        from pipelines.beam.streaming.sinks.pubsub import PubSubOutput

        for path in [self.place, *([] if "://" in letters else [letters])]:
            if not re.fullmatch("projects/[^/]+/topics/[^/]+", path):
                raise ConfigurationError(f"cannot publish to {path}: write projects/PROJECT/topics/TOPIC")
        return PubSubOutput(self.place, letters, messages)
