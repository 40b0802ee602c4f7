"""`millstream stream`: records as they come in, Parquet with vectors out, window by window."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.beam_jobs import show_own_warnings, split_names, suppress_output
from pipelines.cli.config_file import seconds
from pipelines.cli.console import ErrorConsole
from pipelines.cli.options import (
    BeamOptions,
    Delimiter,
    Detach,
    Dtype,
    Encoding,
    Escape,
    Heads,
    Keep,
    Layout,
    Model,
    Properties,
    Quote,
    Text,
    delivery_option,
    input_option,
    model_option,
    operations_option,
    output_option,
    windows_option,
)
from pipelines.enrich import Tombstones
from pipelines.formats import FileFormat, MessageFormat
from pipelines.formats.dialect import Dialect
from pipelines.kafka.config import parse_properties
from pipelines.kafka.secrets import given_secrets

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines.beam.streaming.interfaces import StreamJob

__all__ = ["stream"]


def stream(
    model: Model,
    source: Annotated[
        str,
        input_option(
            "--input", metavar="SOURCE", help="files:GLOB, kafka:TOPIC or pubsub:projects/P/subscriptions/S."
        ),
    ],
    output: Annotated[
        str, output_option(metavar="SINK", help="parquet:URI, kafka:TOPIC or pubsub:projects/P/topics/T.")
    ],
    text: Text = "text",
    keep: Keep = None,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Heads = None,
    input_format: Annotated[
        FileFormat | None,
        input_option(
            "--input-format",
            metavar="FORMAT",
            help="Input format: parquet, jsonl, csv or text.",
            show_default="by file extension; jsonl",
        ),
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    encoding: Encoding = None,
    brokers: Annotated[
        str | None, input_option(metavar="HOST:PORT", help="Kafka brokers, separated by commas.")
    ] = None,
    properties: Properties = None,
    sample: Annotated[
        str | None,
        input_option(
            metavar="FILE", help="JSON lines whose columns are those of the input. Needed for Pub/Sub."
        ),
    ] = None,
    attributes: Annotated[
        str | None,
        input_option(metavar="NAMES", help="Pub/Sub attributes that become columns, separated by commas."),
    ] = None,
    time_attribute: Annotated[
        str | None,
        input_option(
            metavar="NAME", help="Pub/Sub attribute that holds the time of a record, instead of --event-time."
        ),
    ] = None,
    id_attribute: Annotated[
        str | None,
        input_option(
            metavar="NAME",
            help="Pub/Sub attribute that holds an ID; a message that is published twice has the same.",
        ),
    ] = None,
    event_time: Annotated[
        str | None,
        windows_option(
            metavar="FIELD",
            help="Field that holds the time of a record.",
            show_default="the time of its file or message",
        ),
    ] = None,
    window: Annotated[str, windows_option(metavar="TIME", help="Window size in event time.")] = "1m",
    lateness: Annotated[
        str, windows_option(metavar="TIME", help="How long after its end a window accepts late records.")
    ] = "10m",
    disorder: Annotated[  # its old name, which the environment variable MILLSTREAM_STREAM_DISORDER still has
        str,
        windows_option(
            "--out-of-orderness", metavar="TIME", help="How much older than its predecessor a record may be."
        ),
    ] = "1m",
    max_ahead: Annotated[
        str,
        windows_option(
            metavar="TIME",
            help="How far ahead of the clock the time of a record may be; one beyond is a dead letter.",
        ),
    ] = "5m",
    idle: Annotated[
        str,
        windows_option(
            metavar="TIME", help="How long a source may be silent before windows no longer wait for it."
        ),
    ] = "1m",
    shards: Annotated[int, output_option(min=1, metavar="N", help="Parquet files per window.")] = 1,
    output_format: Annotated[
        MessageFormat,
        output_option(
            metavar="FORMAT", help="Format of messages: json or msgpack for one record each, arrow for many."
        ),
    ] = "json",
    key: Annotated[
        str | None,
        output_option(
            metavar="TEMPLATE",
            help="Column or template for Kafka keys.",
            show_default="the key of the input, else its ID",
        ),
    ] = None,
    dead_letters: Annotated[
        str | None,
        delivery_option(
            metavar="SINK",
            help="Where dead letters go when the output is a topic: another topic, or files:URI.",
        ),
    ] = None,
    tombstones: Annotated[
        Tombstones,
        delivery_option(
            help="Kafka messages with a key and no value: to the output, nowhere, or dead letters."
        ),
    ] = "pass",
    delete_columns: Annotated[
        bool,
        output_option(
            "--delete-columns",
            help="Parquet, Arrow: add message_key, and deleted, true in the rows of tombstones.",
        ),
    ] = False,
    readers: Annotated[
        int | None,
        operations_option(
            min=1,
            metavar="N",
            help="Files or partitions to read at a time. Windows on Prism need 1.",
            show_default="1 for windows on Prism, else 4 or one per partition",
        ),
    ] = None,
    follow: Annotated[
        Literal["latest"] | None,
        model_option(metavar="latest", help="latest: switch to newer versions of the model while running."),
    ] = None,
    every: Annotated[
        str, model_option(metavar="TIME", help="How often to check for a newer model version.")
    ] = "30s",
    stop_at_end: Annotated[
        bool, operations_option("--stop-at-end", help="Stop when all existing records have been read.")
    ] = False,
    accept_new_input: Annotated[
        bool,
        delivery_option(
            "--accept-new-input",
            help="Add to the output a topic that was created again, or that is another cluster's.",
        ),
    ] = False,
    detach: Detach = False,
    beam_arguments: BeamOptions = None,
) -> None:
    """Embed records as they arrive; write Parquet files of windows, or a topic.

    Parquet holds every record exactly once, after any crash: a file is named by its window, and replaced
    only by one that has all of its rows. What comes later for the window goes into a further file. Topics
    hold every record at least once, with its ID in the header or attribute `millstream_id`. Rows that cannot
    be read, have no time or come too late go to `dead_letters/` or --dead-letters.
    """
    from pipelines.beam.runner_options import check_detachable, stream_options, stream_readers
    from pipelines.beam.streaming.plan import claim_stream, plan_stream
    from pipelines.beam.streaming.sink_options import SinkOptions
    from pipelines.beam.streaming.source_options import SourceOptions, Timing
    from pipelines.enrich.columns import parse_heads
    from pipelines.enrich.enrichment import Enrichment

    console = ErrorConsole()
    options = stream_options(beam_arguments or [], ends=stop_at_end)
    if detach:
        check_detachable(options)
    timing = Timing(
        field=event_time,
        window=seconds(window, "--window"),
        lateness=seconds(lateness, "--lateness"),
        out_of_orderness=seconds(disorder, "--out-of-orderness"),
        max_ahead=seconds(max_ahead, "--max-ahead"),
        idle=seconds(idle, "--idle"),
        ends=stop_at_end,
    )
    librdkafka = parse_properties(properties or [])
    for name in given_secrets(librdkafka):
        console.print(
            f"warning: the value of {name} becomes part of the pipeline: write --property {name}=@FILE"
        )
    sink = SinkOptions(
        output,
        dead_letters,
        output_format,
        key,
        shards,
        brokers,
        librdkafka,
        tombstones,
        delete_columns=delete_columns,
    )
    has_windows = sink.kind == "parquet"
    with console.status("reading the model and the schema of the input"):
        job = plan_stream(
            model=model,
            source=SourceOptions(
                source,
                input_format,
                brokers,
                librdkafka,
                sample,
                split_names(attributes) or (),
                time_attribute,
                id_attribute,
                readers or stream_readers(options, windows=has_windows),
                Dialect.parse(delimiter, quote, escape, encoding),
            ),
            sink=sink,
            enrichment=Enrichment.parse(
                text, keep=split_names(keep), vectors=vectors, dtype=dtype, heads=parse_heads(heads)
            ),
            timing=timing,
            follow=seconds(every, "--every") if follow else None,
        )
        job = claim_stream(job, accept_new_input=accept_new_input)
    windows = f", windows of {timing.window:g} s" if has_windows else ""
    _run(job, options, console, f"{source} -> {job.sink.uri}{windows}", detach=detach)


def _run(
    job: "StreamJob", options: "PipelineOptions", console: ErrorConsole, title: str, *, detach: bool
) -> None:
    from pipelines.beam.runner import run_stream, start_stream

    if detach:
        with show_own_warnings(), suppress_output():
            start_stream(job, options)
        console.print(f"{title}; submitted")
        return
    console.print(f"{title}; press Ctrl-C to stop")
    try:
        with show_own_warnings(), suppress_output():
            run_stream(job, options)
    except KeyboardInterrupt:
        console.print("stopped: the same command starts again at the first record")
        raise typer.Exit(130) from None
