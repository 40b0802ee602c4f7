"""`millstream stream`: records as they come in, Parquet with vectors out, window by window."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from encoder.errors import UnreadableFile
from pipelines.cli.beam_jobs import damage_rows, show_own_warnings, suppress_output
from pipelines.cli.console import ErrorConsole, print_table
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import (
    BeamOptions,
    Detach,
    EnrichmentOptions,
    Model,
    Properties,
    Strict,
    delivery_option,
    model_option,
    operations_option,
)
from pipelines.cli.stream.options import DriftWindowOptions, InputOptions, OutputOptions, WindowOptions
from pipelines.kafka.config import parse_properties
from pipelines.kafka.secrets import given_secrets
from pipelines.records.durations import seconds

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines.beam.streaming.interfaces import StreamJob

__all__ = ["stream"]


@expand_options
def stream(
    *,
    model: Model,
    source: InputOptions,
    enrichment: EnrichmentOptions,
    windows: WindowOptions,
    sink: OutputOptions,
    drift: DriftWindowOptions,
    properties: Properties = None,
    accept_new_input: Annotated[
        bool,
        delivery_option(
            "--accept-new-input",
            help="Add to the same output when the topic was created again, or is on another cluster.",
        ),
    ] = False,
    follow: Annotated[
        Literal["latest"] | None,
        model_option(metavar="latest", help="latest: switch to newer versions of the model while running."),
    ] = None,
    every: Annotated[
        str, model_option(metavar="TIME", help="How often to check for a newer model version.")
    ] = "30s",
    readers: Annotated[
        int | None,
        operations_option(
            min=1,
            metavar="N",
            help="Files or partitions to read at a time. Windows on Prism need 1.",
            show_default="1 for windows on Prism, else 4 or one per partition",
        ),
    ] = None,
    stop_at_end: Annotated[
        bool, operations_option("--stop-at-end", help="Stop when all existing records have been read.")
    ] = False,
    strict: Strict = False,
    detach: Detach = False,
    beam_arguments: BeamOptions = None,
) -> None:
    """Embed records as they arrive; write Parquet files of windows, or a topic.

    Parquet holds every record exactly once, after any crash: a file is named by its window, and replaced
    only by one that has all of its rows. What comes later for the window goes into a further file. Topics
    hold every record at least once, with its ID in the header or attribute `millstream_id`. Rows that cannot
    be read, have no time or come too late go to `dead_letters/` or --dead-letters. So does the rest of a
    damaged file: with --stop-at-end the other files are done, and the exit code is 1.
    """
    from pipelines.beam.runner_options import check_detachable, stream_options, stream_readers
    from pipelines.beam.streaming.plan import claim_stream, plan_stream

    console = ErrorConsole()
    options = stream_options(beam_arguments or [], ends=stop_at_end)
    if detach:
        check_detachable(options)
    timing = windows.parse(ends=stop_at_end)
    librdkafka = parse_properties(properties or [])
    for name in given_secrets(librdkafka):
        console.print(
            f"warning: the value of {name} becomes part of the pipeline: write --property {name}=@FILE"
        )
    written = sink.parse(source.brokers, librdkafka)
    has_windows = written.kind == "parquet"
    with console.status("reading the model and the schema of the input"):
        job = plan_stream(
            model=model,
            source=source.parse(
                librdkafka, readers or stream_readers(options, windows=has_windows), strict=strict
            ),
            sink=written,
            enrichment=enrichment.parse(),
            timing=timing,
            follow=seconds(every, "--every") if follow else None,
            drift=drift.parse(),
        )
        job = claim_stream(job, accept_new_input=accept_new_input)
    shown = f", windows of {timing.window:g} s" if has_windows else ""
    _run(job, options, console, f"{source.source} -> {job.sink.uri}{shown}", detach=detach)


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
            damaged = run_stream(job, options)
    except KeyboardInterrupt:
        console.print("stopped: the same command starts again at the first record")
        raise typer.Exit(130) from None
    if damaged:
        print_table(None, damage_rows(damaged))
        raise UnreadableFile(
            f"{len(damaged):,} of the files cannot be read to the end: all else is written, and dead letters "
            "say where each ends. Repair them, and embed them into another `output`"
        )
