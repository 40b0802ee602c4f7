"""`millstream stream`: records as they come in, Parquet with vectors out, window by window."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.beam_jobs import show_own_warnings, split_names, suppress_output
from pipelines.cli.config_file import seconds
from pipelines.cli.console import ErrorConsole
from pipelines.cli.options import (
    DELIVERY,
    INPUT,
    OPERATIONS,
    OUTPUT,
    TEXT_AND_MODEL,
    WINDOWS,
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
        typer.Option(
            "--input",
            metavar="SOURCE",
            help="files:GLOB, kafka:TOPIC or pubsub:projects/P/subscriptions/S.",
            rich_help_panel=INPUT,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            metavar="SINK",
            help="parquet:URI, kafka:TOPIC or pubsub:projects/P/topics/T.",
            rich_help_panel=OUTPUT,
        ),
    ],
    text: Text = "text",
    keep: Keep = None,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Heads = None,
    input_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--input-format",
            metavar="FORMAT",
            help="Input format: parquet, jsonl, csv or text.",
            show_default="by file extension; jsonl",
            rich_help_panel=INPUT,
        ),
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    encoding: Encoding = None,
    brokers: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Kafka brokers, separated by commas.", rich_help_panel=INPUT),
    ] = None,
    properties: Properties = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON lines whose columns are those of the input. Needed for Pub/Sub.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Pub/Sub attributes that become columns, separated by commas.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    time_attribute: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Pub/Sub attribute that holds the time of a record, instead of --event-time.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    id_attribute: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Pub/Sub attribute that holds an ID; a message that is published twice has the same.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    event_time: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field that holds the time of a record.",
            show_default="the time of its file or message",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    window: Annotated[
        str, typer.Option(metavar="TIME", help="Window size in event time.", rich_help_panel=WINDOWS)
    ] = "1m",
    lateness: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="How long after its end a window accepts late records.",
            rich_help_panel=WINDOWS,
        ),
    ] = "10m",
    disorder: Annotated[  # its old name, which the environment variable MILLSTREAM_STREAM_DISORDER still has
        str,
        typer.Option(
            "--out-of-orderness",
            metavar="TIME",
            help="How much older than its predecessor a record may be.",
            rich_help_panel=WINDOWS,
        ),
    ] = "1m",
    max_ahead: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="How far ahead of the clock the time of a record may be; one beyond is a dead letter.",
            rich_help_panel=WINDOWS,
        ),
    ] = "5m",
    idle: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="How long a source may be silent before windows no longer wait for it.",
            rich_help_panel=WINDOWS,
        ),
    ] = "1m",
    shards: Annotated[
        int, typer.Option(min=1, metavar="N", help="Parquet files per window.", rich_help_panel=OUTPUT)
    ] = 1,
    output_format: Annotated[
        MessageFormat,
        typer.Option(
            metavar="FORMAT",
            help="Format of messages: json or msgpack for one record each, arrow for many.",
            rich_help_panel=OUTPUT,
        ),
    ] = "json",
    key: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Column or template for Kafka keys.",
            show_default="the key of the input, else its ID",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dead_letters: Annotated[
        str | None,
        typer.Option(
            metavar="SINK",
            help="Where dead letters go when the output is a topic: another topic, or files:URI.",
            rich_help_panel=DELIVERY,
        ),
    ] = None,
    tombstones: Annotated[
        Tombstones,
        typer.Option(
            help="Kafka messages with a key and no value: to the output, nowhere, or dead letters.",
            rich_help_panel=DELIVERY,
        ),
    ] = "pass",
    delete_columns: Annotated[
        bool,
        typer.Option(
            "--delete-columns",
            help="Parquet, Arrow: add message_key, and deleted, true in the rows of tombstones.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    readers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Files or partitions to read at a time. Windows on Prism need 1.",
            show_default="1 for windows on Prism, else 4 or one per partition",
            rich_help_panel=OPERATIONS,
        ),
    ] = None,
    follow: Annotated[
        Literal["latest"] | None,
        typer.Option(
            metavar="latest",
            help="latest: switch to newer versions of the model while running.",
            rich_help_panel=TEXT_AND_MODEL,
        ),
    ] = None,
    every: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="How often to check for a newer model version.",
            rich_help_panel=TEXT_AND_MODEL,
        ),
    ] = "30s",
    stop_at_end: Annotated[
        bool,
        typer.Option(
            "--stop-at-end", help="Stop when all existing records have been read.", rich_help_panel=OPERATIONS
        ),
    ] = False,
    accept_new_input: Annotated[
        bool,
        typer.Option(
            "--accept-new-input",
            help="Add to the output a topic that was created again, or that is another cluster's.",
            rich_help_panel=DELIVERY,
        ),
    ] = False,
    detach: Detach = False,
    beam_arguments: BeamOptions = None,
) -> None:
    """Embed records as they arrive; write a Parquet file per window, or a topic.

    Parquet holds every record exactly once, after any crash: a file is named by its window and is
    replaced as a whole. Topics hold every record at least once, with its ID in the header or attribute
    `millstream_id`. Rows that cannot be read, have no time or come too late go to `dead_letters/` or
    --dead-letters.
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
