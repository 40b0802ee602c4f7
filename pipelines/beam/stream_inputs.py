"""Where the records of a stream come from, and which columns they have."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from encoder.errors import ConfigurationError, MissingExtra, TemplateError
from pipelines.beam.file_source import FileSource
from pipelines.beam.pieces import Windows
from pipelines.beam.plan import check_apart
from pipelines.beam.source import Source
from pipelines.beam.watermark import Promise
from pipelines.records.fields import field_names, field_path, prune
from pipelines.records.formats import find_inputs
from pipelines.records.schema import infer_schema

__all__ = ["StreamInput", "Timing", "place_of"]

_MICROS = 1_000_000


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

    def promise(self) -> Promise:
        """For the watermark of the source."""
        return Promise(round(self.disorder * _MICROS), round(self.idle * _MICROS))


@dataclass(frozen=True)
class StreamInput:
    """The words for an input.

    Attributes:
        text: `files:GLOB` or `kafka:TOPIC`.
        format: of the files, or None to go by their extensions; of a topic's values, `jsonl` or `text`.
        brokers: of Kafka, `HOST:PORT`.
        properties: librdkafka's.
    """

    text: str
    format: str | None = None
    brokers: str | None = None
    properties: dict[str, str] = field(default_factory=dict)

    def source(
        self, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing, output: str
    ) -> Source:
        """The source.

        Args:
            wanted: dotted names of the fields that are needed.
            keep: the columns to keep, or None for all.
            timing: the times.
            output: URI of the output.

        Raises:
            TemplateError: no record has one of the fields or columns.
            InputError: there are no inputs, or they do not fit together.
            OutputConflict: the output lies among the inputs, or the other way round.
            ConfigurationError: the input is of no known kind, or there is no such topic.
        """
        if self.text.startswith("kafka:"):
            return self._topic(place_of(self.text, "kafka", "--input"), wanted, keep, timing)
        pattern = place_of(self.text, "files", "--input")
        files = find_inputs(pattern, self.format)
        check_apart(pattern, files, output)
        records = infer_schema(files, wanted, keep)
        return FileSource(
            pattern,
            self.format,
            records,
            timing.windows(),
            timing.promise(),
            every=timing.look,
            ends=timing.ends,
        )

    def _topic(self, topic: str, wanted: Sequence[str], keep: Sequence[str] | None, timing: Timing) -> Source:
        try:
            from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - Kafka is an extra

            from pipelines.beam.kafka_source import KafkaSource  # noqa: PLC0415 - as above
            from pipelines.kafka.cluster import check_topics, sample_values  # noqa: PLC0415 - as above
            from pipelines.kafka.properties import consumer_properties  # noqa: PLC0415 - as above
            from pipelines.records.values import columns_seen  # noqa: PLC0415 - as above
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "confluent_kafka", "kafka") from error
        if self.brokers is None:
            raise ConfigurationError(f"--input {self.text} needs --brokers HOST:PORT")
        kind = _VALUES.get(self.format)
        if kind is None:
            raise ConfigurationError(f"--format {self.format} is not for topics: use jsonl or text")
        properties = consumer_properties(
            self.properties, brokers=self.brokers, group="millstream-stream", instance=None
        )
        n_partitions = check_topics(AdminClient({"log_level": "3", **properties}), [topic], [])[topic]
        seen = columns_seen(sample_values(properties, topic, n_partitions), kind)
        if not seen.names:
            raise ConfigurationError(
                f"topic {topic!r} is empty, so its fields are not known: write a record first"
            )
        return KafkaSource(
            topic,
            tuple(range(n_partitions)),
            properties,
            kind,
            _selected(seen, wanted, keep),
            timing.windows(),
            timing.promise(),
            ends=timing.ends,
        )


_VALUES: dict[str | None, Literal["json", "text"]] = {None: "json", "jsonl": "json", "text": "text"}


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


def place_of(text: str, kind: str, flag: str) -> str:
    """What stands behind `kind:`.

    Raises:
        ConfigurationError: something else does.
    """
    found, separator, place = text.partition(":")
    if found != kind or not separator or not place:
        raise ConfigurationError(f"cannot use {flag} {text}: write {_KINDS[flag]}")
    return place


_KINDS = {"--input": "files:GLOB or kafka:TOPIC", "--output": "parquet:URI"}
