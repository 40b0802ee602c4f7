"""Where the records of a stream come from, and which columns they have."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from encoder.errors import ConfigurationError, MissingExtra, TemplateError
from pipelines.beam.backfill.plan import check_apart
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.event_time import WatermarkPolicy
from pipelines.beam.streaming.interfaces import Input, Source
from pipelines.beam.streaming.sources.files import FileSource
from pipelines.formats import FileFormat, PlainFormat
from pipelines.formats.messages import columns_seen
from pipelines.records.fields import field_names, field_path, prune
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.schema import infer_schema

__all__ = ["StreamInput", "Timing", "check_pubsub"]

_MICROS = 1_000_000
_FILE_READERS = 4


@dataclass(frozen=True)
class Timing:
    """Times of a stream, in seconds.

    Attributes:
        field: dotted name of the field with the time of a record; None takes that of its file or message.
        window: the size of a window.
        lateness: how long after its end a window takes late records.
        disorder: by how much a record may be older than one before it.
        idle: after which a silent source no longer holds up windows.
        look: between two looks for new files.
        ends: whether the stream ends when all that is there has been read.
    """

    field: str | None = None
    window: float = 60
    lateness: float = 600
    disorder: float = 60
    idle: float = 60
    look: float = 1
    ends: bool = False

    def windows(self) -> Windows:
        """The windows.

        Raises:
            ConfigurationError: a window is no whole number of seconds.
        """
        if self.window < 1 or self.window % 1:
            raise ConfigurationError(f"a window of {self.window:g} s: give whole seconds, one or more")
        return Windows(round(self.window * _MICROS), round(self.lateness * _MICROS), self.field)

    def policy(self) -> WatermarkPolicy:
        """For the watermark of the source."""
        return WatermarkPolicy(round(self.disorder * _MICROS), round(self.idle * _MICROS))


@dataclass(frozen=True)
class StreamInput:
    """The words for an input.

    Attributes:
        text: `files:GLOB`, `kafka:TOPIC`, or `pubsub:projects/PROJECT/subscriptions/NAME` or `…/topics/NAME`.
        format: of the files, or None to go by their extensions; of a topic's values, `jsonl` or `text`.
        brokers: of Kafka, `HOST:PORT`.
        properties: librdkafka's.
        sample: a file of JSON lines that tells the columns where the input cannot: of Pub/Sub, and of a topic
            that is empty.
        attributes: of Pub/Sub, those that become columns of text.
        time_attribute: of Pub/Sub, the one with the time of a record.
        id_attribute: of Pub/Sub, the one with an id of a record that is the same if it is published again.
        readers: how many read files or partitions at a time; None is four for files, and one a partition.
    """

    text: str
    format: FileFormat | None = None
    brokers: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    sample: str | None = None
    attributes: tuple[str, ...] = ()
    time_attribute: str | None = None
    id_attribute: str | None = None
    readers: int | None = None

    def source(
        self, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing, output: str | None
    ) -> Input:
        """The source.

        Args:
            wanted: dotted names of the fields that are needed.
            keep: the columns to keep, or None for all.
            timing: the times.
            output: URI of the output, if it is a folder.

        Raises:
            TemplateError: no record has one of the fields or columns.
            InputError: there are no inputs, or they do not fit together.
            OutputConflict: the output lies among the inputs, or the other way round.
            ConfigurationError: the input is of no known kind, or there is no such topic.
        """
        kind, _, place = self.text.partition(":")
        if kind not in ("files", "kafka", "pubsub") or not place:
            raise ConfigurationError(f"cannot use --input {self.text}: write {_KINDS}")
        if kind != "pubsub" and (self.attributes or self.time_attribute or self.id_attribute):
            raise ConfigurationError("attributes are Pub/Sub's: leave their options out")
        if kind == "kafka":
            return self._topic(place, wanted, keep, timing)
        if kind == "pubsub":
            return self._pubsub(place, wanted, keep, timing)
        pattern = place
        files = find_inputs(pattern, self.format)
        if output is not None:
            check_apart(pattern, files, output)
        records = infer_schema(files, wanted, keep)
        return FileSource(
            pattern,
            self.format,
            records,
            timing.windows(),
            timing.policy(),
            every=timing.look,
            ends=timing.ends,
            parts=self.readers or _FILE_READERS,
        )

    def _topic(self, topic: str, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing) -> Source:
        try:
            from pipelines.beam.streaming.sources.kafka import KafkaSource
            from pipelines.kafka.admin import check_topics, connect
            from pipelines.kafka.config import consumer_properties
            from pipelines.kafka.sample import sample_values
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "confluent_kafka", "kafka") from error
        if self.brokers is None:
            raise ConfigurationError(f"--input {self.text} needs --brokers HOST:PORT")
        kind = self._kind
        properties = consumer_properties(
            self.properties, brokers=self.brokers, group="millstream-stream", instance=None
        )
        reads, _ = check_topics(connect(self.brokers, self.properties), [topic], [])
        seen = self._sampled or columns_seen(sample_values(properties, reads), kind)
        if not seen.names:
            raise ConfigurationError(
                f"topic {topic!r} is empty, so its fields are not known: write a record first, "
                "or name a file of examples with --sample"
            )
        return KafkaSource(
            topic,
            tuple(range(reads[topic])),
            properties,
            kind,
            _selected(seen, wanted, keep),
            timing.windows(),
            timing.policy(),
            ends=timing.ends,
            readers=self.readers,
        )

    @property
    def _kind(self) -> PlainFormat:
        kind = _VALUES.get(self.format)
        if kind is None:
            raise ConfigurationError(f"--input-format {self.format} is not for topics: use jsonl or text")
        return kind

    @property
    def _sampled(self) -> pa.Schema | None:
        """The columns of the sample, if there is one."""
        if self.sample is None:
            return None
        try:
            lines = Path(self.sample).read_bytes().splitlines()
        except OSError as error:
            raise ConfigurationError(f"cannot read --sample {self.sample}: {error.strerror}") from error
        return columns_seen(lines, self._kind)

    def _pubsub(self, path: str, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing) -> Input:
        check_pubsub()
        from pipelines.beam.streaming.sources.pubsub import PubSubInput

        if not re.fullmatch("projects/[^/]+/(subscriptions|topics)/[^/]+", path):
            raise ConfigurationError(f"cannot use --input {self.text}: write {_KINDS}")
        if timing.ends:
            raise ConfigurationError(
                "Pub/Sub has no end: leave --stop-at-end out, and name a runner behind --"
            )
        if timing.field is not None and self.time_attribute is not None:
            raise ConfigurationError("--event-time and --time-attribute are two times: name one")
        fields = columns_seen([], "text") if self._kind == "text" else self._sampled
        if fields is None:
            raise ConfigurationError(
                f"the fields of {self.text} are not known: name a file of examples with --sample"
            )
        if both := set(fields.names) & set(self.attributes):
            raise ConfigurationError(
                f"{min(both)!r} is a field and an attribute: leave it out of --attributes"
            )
        seen = pa.schema([*fields, *(pa.field(name, pa.string()) for name in self.attributes)])
        return PubSubInput(
            path,
            self._kind,
            _selected(seen, wanted, keep),
            timing.windows(),
            self.attributes,
            self.time_attribute,
            self.id_attribute,
        )


def check_pubsub() -> None:
    """Look whether Google's libraries are there.

    Raises:
        MissingExtra: they are not.
    """
    if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.cloud.pubsub") is None:
        raise MissingExtra("google.cloud.pubsub", "gcp")


_VALUES: dict[str | None, PlainFormat] = {None: "json", "jsonl": "json", "text": "text"}


def _selected(seen: pa.Schema, wanted: Sequence[str], keep: Sequence[str] | None) -> pa.Schema:
    """The columns to keep, and those that only the fields need."""
    kept = seen.names if keep is None else list(keep)
    paths = {name: field_path(seen, name) for name in wanted}
    missing = [name for name in kept if name not in seen.names] + [
        n for n, path in paths.items() if path is None
    ]
    if missing:
        there = ", ".join(field_names(seen))
        raise TemplateError(
            f"no record of a sample has the field {missing[0]!r}: there is {there}; use one of these"
        )
    extra = dict.fromkeys(path[0] for path in paths.values() if path is not None and path[0] not in kept)
    pruned = [
        prune(seen.field(head), [path[1:] for path in paths.values() if path is not None and path[0] == head])
        for head in extra
    ]
    return pa.schema([*(seen.field(name) for name in kept), *pruned])


_KINDS = "files:GLOB, kafka:TOPIC or pubsub:projects/PROJECT/subscriptions/NAME (or …/topics/NAME)"
