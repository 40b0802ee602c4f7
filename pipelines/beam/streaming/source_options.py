"""The options of a stream's source: where records come from, which columns they have, and their times."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from encoder.errors import ConfigurationError, MissingExtra, TemplateError
from pipelines.beam.backfill.plan import check_apart
from pipelines.beam.streaming.batch import ROW, SOURCE, Windows
from pipelines.beam.streaming.interfaces import Source
from pipelines.beam.streaming.sources.files import FileSource
from pipelines.beam.streaming.watermark import WatermarkPolicy
from pipelines.formats import StreamFormat, StreamInputFormat
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.formats.messages import Value, columns_seen
from pipelines.records.fields import field_names, field_path, prune
from pipelines.sources.files.dialects import with_dialects
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.schema import infer_schema

__all__ = ["SourceOptions", "Timing", "check_pubsub"]

_MICROS = 1_000_000
_FILE_READERS = 4
_ASK_SECONDS = 20.0
_KINDS = "files:GLOB, kafka:TOPIC or pubsub:projects/PROJECT/subscriptions/NAME (or …/topics/NAME)"
_VALUES: dict[str | None, StreamInputFormat] = {
    None: "json",
    "jsonl": "json",
    "text": "text",
    "arrow": "arrow",
}


@dataclass(frozen=True)
class Timing:
    """Times of a stream, in seconds.

    Attributes:
        field: dotted name of the field with the event time; None uses the time of the file or message.
        window: the length of a window.
        lateness: how long after its end a window accepts late records.
        out_of_orderness: by how much a record may be older than one before it.
        idle: after this time without a record, a source no longer holds windows open.
        max_ahead: by how much an event time may be ahead of the clock.
        poll: how often to look for new files.
        ends: whether the stream ends once everything that is there has been read.
    """

    field: str | None = None
    window: float = 60
    lateness: float = 600
    out_of_orderness: float = 60
    idle: float = 60
    max_ahead: float = 300
    poll: float = 1
    ends: bool = False

    def windows(self) -> Windows:
        """The windows.

        Raises:
            ConfigurationError: the length of a window is not a whole number of seconds.
        """
        if self.window < 1 or self.window % 1:
            raise ConfigurationError(f"a window of {self.window:g} s: use whole seconds, at least one")
        return Windows(round(self.window * _MICROS), round(self.lateness * _MICROS), self.field)

    def policy(self) -> WatermarkPolicy:
        """How readers set their watermark."""
        return WatermarkPolicy(
            round(self.out_of_orderness * _MICROS),
            round(self.idle * _MICROS),
            round(self.max_ahead * _MICROS),
        )


@dataclass(frozen=True)
class SourceOptions:
    """The options of a source.

    Attributes:
        uri: `files:GLOB`, `kafka:TOPIC`, or `pubsub:projects/PROJECT/subscriptions/NAME` or `…/topics/NAME`.
        format: the format of files, None to go by their extensions; or of a topic's values, `jsonl`, `text`
            or `arrow`.
        brokers: Kafka's `HOST:PORT`.
        properties: librdkafka's properties.
        sample: a file of JSON lines, or an Arrow IPC stream, with the columns of the records; Pub/Sub and
            empty topics need it.
        attributes: Pub/Sub attributes that become columns of text.
        time_attribute: the Pub/Sub attribute with the event time.
        id_attribute: the Pub/Sub attribute with an id that stays the same if a record is published again.
        readers: how many readers share the files or partitions; None means four for files, and one for each
            partition.
        dialect: what the user says about files of text.
        strict: whether a file that cannot be read to its end stops the stream.
    """

    uri: str
    format: StreamFormat | None = None
    brokers: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    sample: str | None = None
    attributes: tuple[str, ...] = ()
    time_attribute: str | None = None
    id_attribute: str | None = None
    readers: int | None = None
    dialect: Dialect = GUESSED
    strict: bool = False

    def source(
        self, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing, output: str | None
    ) -> Source:
        """Create the source.

        Args:
            wanted: dotted names of the fields that are needed.
            keep: the columns to keep, or None for all.
            timing: the times.
            output: URI of the output, if it is a folder.

        Raises:
            TemplateError: no record has one of the fields or columns.
            InputError: there are no inputs, or their schemas differ.
            OutputConflict: the output is inside the input, or the other way round.
            ConfigurationError: the source is of no known kind, or the topic does not exist.
        """
        kind, _, target = self.uri.partition(":")
        if kind not in ("files", "kafka", "pubsub") or not target:
            raise ConfigurationError(f"cannot use --input {self.uri}: write {_KINDS}")
        if kind != "pubsub" and (self.attributes or self.time_attribute or self.id_attribute):
            raise ConfigurationError(
                "only Pub/Sub has attributes: leave --attributes, --time-attribute and --id-attribute out"
            )
        if kind != "files" and self.strict:
            raise ConfigurationError(f"--strict is for files, not for {self.uri}: leave it out")
        if kind == "kafka":
            return self._kafka(target, wanted, keep, timing)
        if kind == "pubsub":
            return self._pubsub(target, wanted, keep, timing)
        if self.format == "arrow":
            raise ConfigurationError(
                "--input-format arrow is for messages of kafka:TOPIC and pubsub:…: write files as Parquet"
            )
        files = with_dialects(find_inputs(target, self.format, self.dialect))
        if output is not None:
            check_apart(target, files, output)
        return FileSource(
            target,
            self.format,
            infer_schema(files, wanted, keep, strict=self.strict),
            timing.windows(),
            timing.policy(),
            poll_seconds=timing.poll,
            ends=timing.ends,
            parts=self.readers or _FILE_READERS,
            dialect=self.dialect,
            all_fields=keep is None,
            strict=self.strict,
        )

    def _kafka(self, topic: str, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing) -> Source:
        try:
            from pipelines.beam.streaming.sources.kafka import KafkaSource
            from pipelines.kafka.admin import check_topics, connect
            from pipelines.kafka.config import consumer_properties
            from pipelines.kafka.sample import sample_values
            from pipelines.kafka.topic_ids import cluster_id, topic_ids
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "confluent_kafka", "kafka") from error
        if self.brokers is None:
            raise ConfigurationError(f"--input {self.uri} needs --brokers HOST:PORT")
        values = self._value_format
        properties = consumer_properties(
            self.properties, brokers=self.brokers, group="millstream-stream", instance=None
        )
        admin = connect(self.brokers, self.properties)
        reads, _ = check_topics(admin, [topic], [])
        known = topic_ids(admin, cluster_id(admin, _ASK_SECONDS), [topic], _ASK_SECONDS).get(topic)
        seen = self._sampled or _seen(sample_values(properties, reads), values)
        if not seen.names:
            raise ConfigurationError(
                f"topic {topic!r} is empty, so its columns are unknown: write a record first, "
                "or name a file of example records with --sample"
            )
        return KafkaSource(
            topic,
            tuple(range(reads[topic])),
            properties,
            values,
            _select(seen, wanted, keep),
            timing.windows(),
            timing.policy(),
            ends=timing.ends,
            readers=self.readers,
            all_fields=keep is None,
            topic_id=known,
        )

    @property
    def _value_format(self) -> StreamInputFormat:
        if self.format not in _VALUES:
            raise ConfigurationError(
                f"--input-format {self.format} is not for topics: use jsonl, text or arrow"
            )
        return _VALUES[self.format]

    @property
    def _sampled(self) -> pa.Schema | None:
        """The columns of the sample, if there is one."""
        if self.sample is None:
            return None
        try:
            data = Path(self.sample).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read --sample {self.sample}: {error.strerror}") from error
        values = self._value_format
        return _seen([data] if values == "arrow" else list(data.splitlines()), values)

    def _pubsub(self, path: str, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing) -> Source:
        check_pubsub()
        from pipelines.beam.streaming.sources.pubsub import PubSubSource

        if not re.fullmatch("projects/[^/]+/(subscriptions|topics)/[^/]+", path):
            raise ConfigurationError(f"cannot use --input {self.uri}: write {_KINDS}")
        if timing.ends:
            raise ConfigurationError(
                "a Pub/Sub subscription never ends: leave --stop-at-end out, and name a runner after --"
            )
        if timing.field is not None and self.time_attribute is not None:
            raise ConfigurationError("--event-time and --time-attribute both name the event time: use one")
        fields = columns_seen([], "text") if self._value_format == "text" else self._sampled
        if fields is None:
            raise ConfigurationError(
                f"the columns of {self.uri} are unknown: name a file of example records with --sample"
            )
        if both := set(fields.names) & set(self.attributes):
            raise ConfigurationError(
                f"{min(both)!r} is both a field and an attribute: leave it out of --attributes"
            )
        seen = pa.schema([*fields, *(pa.field(name, pa.string()) for name in self.attributes)])
        return PubSubSource(
            path,
            self._value_format,
            _select(seen, wanted, keep),
            timing.windows(),
            timing.policy(),
            self.attributes,
            self.time_attribute,
            self.id_attribute,
            all_fields=keep is None,
        )


def _seen(values: list[Value], kind: StreamInputFormat) -> pa.Schema:
    """The columns of a sample of values, without those that say where a record came from."""
    if kind != "arrow":
        return columns_seen(values, kind)
    from pipelines.beam.streaming.sources.arrow_rows import sampled_columns

    return pa.schema([field for field in sampled_columns(values) if field.name not in (SOURCE, ROW)])


def check_pubsub() -> None:
    """Check that Google's libraries are installed.

    Raises:
        MissingExtra: they are not.
    """
    if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.cloud.pubsub") is None:
        raise MissingExtra("google.cloud.pubsub", "gcp")


def _select(seen: pa.Schema, wanted: Sequence[str], keep: Sequence[str] | None) -> pa.Schema:
    """The columns to keep, and the columns of wanted fields, pruned to those fields."""
    kept = seen.names if keep is None else list(keep)
    paths = {name: field_path(seen, name) for name in wanted}
    missing = [name for name in kept if name not in seen.names] + [
        n for n, path in paths.items() if path is None
    ]
    if missing:
        there = ", ".join(field_names(seen))
        raise TemplateError(f"no sampled record has the field {missing[0]!r}: use one of {there}")
    extra = dict.fromkeys(path[0] for path in paths.values() if path is not None and path[0] not in kept)
    pruned = [
        prune(seen.field(head), [path[1:] for path in paths.values() if path is not None and path[0] == head])
        for head in extra
    ]
    return pa.schema([*(seen.field(name) for name in kept), *pruned])
