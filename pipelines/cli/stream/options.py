"""The options of `millstream stream`, by their groups in its help."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from encoder.errors import ConfigurationError
from encoder.reference import store_uri
from pipelines.cli.options import (
    DialectOptions,
    PartitionBy,
    delivery_option,
    input_option,
    operations_option,
    output_option,
    split_names,
    windows_option,
)
from pipelines.enrich import Tombstones
from pipelines.formats import MessageFormat, StreamFormat
from pipelines.records.durations import seconds

if TYPE_CHECKING:
    from pipelines.beam.streaming.drift import DriftOptions
    from pipelines.beam.streaming.sink_options import SinkOptions
    from pipelines.beam.streaming.source_options import SourceOptions, Timing

__all__ = ["DriftWindowOptions", "InputOptions", "OutputOptions", "WindowOptions"]


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Where the records come from."""

    source: Annotated[
        str,
        input_option(
            "--input", metavar="SOURCE", help="files:GLOB, kafka:TOPIC or pubsub:projects/P/subscriptions/S."
        ),
    ]
    input_format: Annotated[
        StreamFormat | None,
        input_option(
            "--input-format",
            metavar="FORMAT",
            help="Input format: parquet, jsonl, csv or text; of topics, jsonl, text or arrow.",
            show_default="by file extension; jsonl",
        ),
    ] = None
    dialect: DialectOptions
    brokers: Annotated[
        str | None, input_option(metavar="HOST:PORT", help="Kafka brokers, separated by commas.")
    ] = None
    sample: Annotated[
        str | None,
        input_option(
            metavar="FILE",
            help="JSON lines (or an Arrow stream) with the input's columns. Needed for Pub/Sub.",
        ),
    ] = None
    attributes: Annotated[
        str | None,
        input_option(metavar="NAMES", help="Pub/Sub attributes that become columns, separated by commas."),
    ] = None
    time_attribute: Annotated[
        str | None,
        input_option(
            metavar="NAME", help="Pub/Sub attribute that holds the time of a record, instead of --event-time."
        ),
    ] = None
    id_attribute: Annotated[
        str | None,
        input_option(
            metavar="NAME",
            help="Pub/Sub attribute with an ID that stays the same when a message is published again.",
        ),
    ] = None

    def parse(self, properties: dict[str, str], readers: int | None, *, strict: bool) -> "SourceOptions":
        """The options of the source.

        Args:
            properties: librdkafka's.
            readers: how many readers share the files or partitions, or None for the source's own number.
            strict: whether a file that cannot be read to its end stops the stream.

        Raises:
            ConfigurationError: the dialect of the files is no dialect.
        """
        from pipelines.beam.streaming.source_options import SourceOptions

        return SourceOptions(
            self.source,
            self.input_format,
            self.brokers,
            properties,
            self.sample,
            split_names(self.attributes) or (),
            self.time_attribute,
            self.id_attribute,
            readers,
            self.dialect.parse(),
            strict,
        )


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """Which time a record has, and when a window is complete."""

    event_time: Annotated[
        str | None,
        windows_option(
            metavar="FIELD",
            help="Field that holds the time of a record.",
            show_default="the time of its file or message",
        ),
    ] = None
    window: Annotated[str, windows_option(metavar="TIME", help="Window size in event time.")] = "1m"
    lateness: Annotated[
        str, windows_option(metavar="TIME", help="How long after its end a window accepts late records.")
    ] = "10m"
    disorder: Annotated[  # its old name, which the environment variable MILLSTREAM_STREAM_DISORDER still has
        str,
        windows_option(
            "--out-of-orderness", metavar="TIME", help="How much older than its predecessor a record may be."
        ),
    ] = "1m"
    max_ahead: Annotated[
        str,
        windows_option(
            metavar="TIME",
            help="How far ahead of the clock a record's time may be; beyond that, it is a dead letter.",
        ),
    ] = "5m"
    idle: Annotated[
        str,
        windows_option(
            metavar="TIME", help="How long a source may be silent before windows no longer wait for it."
        ),
    ] = "1m"

    def parse(self, *, ends: bool) -> "Timing":
        """The times, in seconds.

        Args:
            ends: whether the stream ends once everything that is there has been read.

        Raises:
            ConfigurationError: a duration cannot be read.
        """
        from pipelines.beam.streaming.source_options import Timing

        return Timing(
            field=self.event_time,
            window=seconds(self.window, "--window"),
            lateness=seconds(self.lateness, "--lateness"),
            out_of_orderness=seconds(self.disorder, "--out-of-orderness"),
            max_ahead=seconds(self.max_ahead, "--max-ahead"),
            idle=seconds(self.idle, "--idle"),
            ends=ends,
        )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the enriched records go."""

    output: Annotated[
        str, output_option(metavar="SINK", help="parquet:URI, kafka:TOPIC or pubsub:projects/P/topics/T.")
    ]
    shards: Annotated[int, output_option(min=1, metavar="N", help="Parquet files per window.")] = 1
    output_format: Annotated[
        MessageFormat,
        output_option(
            metavar="FORMAT", help="Format of messages: json or msgpack for one record each, arrow for many."
        ),
    ] = "json"
    key: Annotated[
        str | None,
        output_option(
            metavar="TEMPLATE",
            help="Column or template for Kafka keys.",
            show_default="the key of the input, else its ID",
        ),
    ] = None
    delete_columns: Annotated[
        bool,
        output_option(
            "--delete-columns",
            help="Write tombstones to Parquet and Arrow as rows, with the columns message_key and deleted.",
        ),
    ] = False
    partition_by: PartitionBy = None
    dead_letters: Annotated[
        str | None,
        delivery_option(
            metavar="SINK",
            help="Where dead letters go when the output is a topic: another topic, or files:URI.",
        ),
    ] = None
    tombstones: Annotated[
        Tombstones,
        delivery_option(
            help="Kafka messages with a key and no value: pass them on, drop them, or make them dead letters."
        ),
    ] = "pass"

    def parse(self, brokers: str | None, properties: dict[str, str]) -> "SinkOptions":
        """The options of the sink.

        Args:
            brokers: Kafka's `HOST:PORT`.
            properties: librdkafka's.
        """
        from pipelines.beam.streaming.sink_options import SinkOptions

        return SinkOptions(
            self.output,
            self.dead_letters,
            self.output_format,
            self.key,
            self.shards,
            brokers,
            properties,
            self.tombstones,
            delete_columns=self.delete_columns,
            partition_by=self.partition_by,
        )


@dataclass(frozen=True, kw_only=True)
class DriftWindowOptions:
    """How the records are compared with the model's drift baseline."""

    drift_window: Annotated[
        str,
        operations_option(
            metavar="TIME",
            help="How much event time a window spans at least whose records are compared with the model's "
            "drift baseline, if it has one; 0s for never.",
        ),
    ] = "10m"
    drift_records: Annotated[
        int,
        operations_option(min=100, metavar="N", help="Minimum number of measured records in such a window."),
    ] = 1000
    drift_output: Annotated[
        str | None,
        operations_option(
            metavar="OUTPUT",
            help="files:URI for a JSON file per window, with the IDs of its most unusual records.",
        ),
    ] = None

    def parse(self) -> "DriftOptions | None":
        """How drift is measured; None if it is not.

        Raises:
            ConfigurationError: the duration or the output cannot be read.
        """
        from pipelines.beam.streaming.drift import DriftOptions

        kind, _, folder = (self.drift_output or "files:.").partition(":")
        if kind != "files" or not folder:
            raise ConfigurationError(f"cannot read --drift-output {self.drift_output!r}: write files:URI")
        length = seconds(self.drift_window, "--drift-window")
        output = None if self.drift_output is None else store_uri(folder)
        if not length and output is not None:
            raise ConfigurationError("--drift-output needs windows, and --drift-window is 0s: leave one out")
        return DriftOptions(length, self.drift_records, output) if length else None
