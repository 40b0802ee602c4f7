"""`millstream stream`: records as they come in, Parquet with vectors out, window by window."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from encoder.errors import MissingExtra
from pipelines.cli.backfill import suppress_output
from pipelines.cli.config_file import seconds
from pipelines.cli.console import ErrorConsole
from pipelines.cli.options import Dtype, Heads, Keep, Layout, Properties, Text
from pipelines.formats import FileFormat, MessageFormat

__all__ = ["stream"]


def stream(
    model: Annotated[
        str, typer.Option(help="REF of the model: a folder, or a version as in s3://bucket/models/minilm@7.")
    ],
    source: Annotated[
        str,
        typer.Option(
            "--input",
            help="files:GLOB, where files appear whole; kafka:TOPIC; "
            "pubsub:projects/PROJECT/subscriptions/NAME.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            help="parquet:URI, a folder for one file a window and shard; kafka:TOPIC; "
            "pubsub:projects/PROJECT/topics/TOPIC."
        ),
    ],
    text: Text = "text",
    keep: Keep = None,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Heads = None,
    input_format: Annotated[
        FileFormat | None,
        typer.Option("--format", help="Format of the input.", show_default="by the files' extensions; jsonl"),
    ] = None,
    brokers: Annotated[
        str | None, typer.Option(help="HOST:PORT of Kafka's brokers, separated by commas.")
    ] = None,
    properties: Properties = None,
    sample: Annotated[
        str | None,
        typer.Option(help="JSON lines that tell the columns where the input cannot: of Pub/Sub."),
    ] = None,
    attributes: Annotated[
        str | None, typer.Option(help="Of Pub/Sub: those that become columns, separated by commas.")
    ] = None,
    time_attribute: Annotated[
        str | None, typer.Option(help="Of Pub/Sub: with the time of a record, instead of --event-time.")
    ] = None,
    id_attribute: Annotated[
        str | None, typer.Option(help="Of Pub/Sub: with an id that is the same if it is published again.")
    ] = None,
    event_time: Annotated[
        str | None,
        typer.Option(help="Field with the time of a record.", show_default="that of its file or message"),
    ] = None,
    window: Annotated[str, typer.Option(help="Size of a window of event time.")] = "1m",
    lateness: Annotated[
        str, typer.Option(help="How long after its end a window takes late records; its file is replaced.")
    ] = "10m",
    disorder: Annotated[
        str, typer.Option(help="By how much a record may be older than one before it.")
    ] = "1m",
    idle: Annotated[
        str, typer.Option(help="After this time a silent source holds up no window any more.")
    ] = "1m",
    shards: Annotated[int, typer.Option(min=1, help="Parquet files of a window.")] = 1,
    output_format: Annotated[
        MessageFormat,
        typer.Option(help="Of a topic's messages: one a record, or as Arrow IPC many."),
    ] = "json",
    key: Annotated[
        str | None,
        typer.Option(help="Column or template for keys in Kafka.", show_default="the input's, else the id"),
    ] = None,
    dead_letters: Annotated[
        str | None,
        typer.Option(help="Of a topic: another topic, in the same words, or files:URI."),
    ] = None,
    readers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many read files or partitions at a time; on Prism, windows need 1.",
            show_default="1 for windows with PrismRunner or PortableRunner, else 4 or one a partition",
        ),
    ] = None,
    follow: Annotated[
        Literal["latest"] | None,
        typer.Option(help="latest: change to newer versions of the model while running."),
    ] = None,
    every: Annotated[str, typer.Option(help="Between two looks for a newer version.")] = "30s",
    stop_at_end: Annotated[
        bool, typer.Option("--stop-at-end", help="End when everything that is there has been read.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when the runner has the job; for runners elsewhere.")
    ] = False,
    beam_arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- BEAM OPTIONS]", help="The Beam runner and its options, behind `--`."),
    ] = None,
) -> None:
    """Embed records as they come, into one Parquet file for each window of event time, or into a topic.

    In files every record is there once, whatever crashes: a file is named by its window and is replaced as a
    whole. In topics it is there at least once, with its id in the header or attribute `millstream_id`. Rows
    that cannot be read, that have no time or come too late go to `dead_letters/` or --dead-letters.
    """
    try:
        from pipelines.beam.runner import run_stream, start_stream
        from pipelines.beam.runner_options import (
            check_detachable,
            stream_options,
            stream_readers,
        )
        from pipelines.beam.streaming.plan import claim_stream, plan_stream
        from pipelines.beam.streaming.sink_options import OutputWords
        from pipelines.beam.streaming.source_options import StreamInput, Timing
        from pipelines.kafka.config import parse_properties
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "apache_beam", "beam") from error

    from pipelines.enrich.columns import parse_heads

    console = ErrorConsole()
    options = stream_options(beam_arguments or [], ends=stop_at_end)
    if detach:
        check_detachable(options)
    timing = Timing(
        field=event_time,
        window=seconds(window, "--window"),
        lateness=seconds(lateness, "--lateness"),
        disorder=seconds(disorder, "--disorder"),
        idle=seconds(idle, "--idle"),
        ends=stop_at_end,
    )
    librdkafka = parse_properties(properties or [])
    target = OutputWords(output, dead_letters, output_format, key, shards, brokers, librdkafka)
    in_windows = target.kind == "parquet"
    with console.status("reading the model and the inputs' schema"):
        job = plan_stream(
            model=model,
            source=StreamInput(
                source,
                input_format,
                brokers,
                librdkafka,
                sample,
                _names(attributes) or (),
                time_attribute,
                id_attribute,
                readers or stream_readers(options, windows=in_windows),
            ),
            output=target,
            text=text,
            keep=_names(keep),
            vectors=vectors,
            dtype=dtype,
            heads=parse_heads(heads),
            timing=timing,
            follow=seconds(every, "--every") if follow else None,
        )
        claim_stream(job)
    windows = f", windows of {timing.window:g} s" if in_windows else ""
    what = f"{source} -> {job.output.place}{windows}"
    if detach:
        with _telling(), suppress_output():
            start_stream(job, options)
        console.print(f"{what}; the runner has it")
        return
    console.print(f"{what}; Ctrl-C stops")
    try:
        with _telling(), suppress_output():
            run_stream(job, options)
    except KeyboardInterrupt:
        console.print("stopped: the same command begins again at the first record")
        raise typer.Exit(130) from None


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names that are separated by commas."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _telling() -> Iterator[None]:
    """Show what our own parts warn of, as a version that is refused, though Beam is hushed."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("pipelines")
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.WARNING)
    ours.propagate = False
    try:
        yield
    finally:
        ours.propagate = True
        ours.setLevel(level)
        ours.removeHandler(handler)
