"""`millstream backfill`: files of records in, Parquet with vectors out."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from encoder.errors import UnreadableFile
from pipelines.cli.beam_jobs import damage_rows, show_own_warnings, suppress_output
from pipelines.cli.console import ErrorConsole, print_table
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import (
    AsJson,
    BeamOptions,
    Detach,
    EnrichmentOptions,
    InputOptions,
    Model,
    PartitionBy,
    Strict,
    operations_option,
    output_option,
)

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines.beam.backfill.job import BackfillJob, Counts

__all__ = ["backfill"]

_SHOWN = 20  # names of fields in the summary


@expand_options
def backfill(
    model: Model,
    files: InputOptions,
    output: Annotated[
        str,
        output_option(
            metavar="OUTPUT",
            help="Folder or URI for Parquet files, or a table: delta:URI or iceberg:CATALOG/SPACE.TABLE.",
        ),
    ],
    enrichment: EnrichmentOptions,
    workers: Annotated[
        int | None,
        operations_option(
            min=1, metavar="N", help="Threads of the local runner.", show_default="one per core"
        ),
    ] = None,
    rows_per_file: Annotated[
        int, output_option(min=1, metavar="N", help="Records per output file.")
    ] = 65_536,
    partition_by: PartitionBy = None,
    strict: Strict = False,
    detach: Detach = False,
    beam_arguments: BeamOptions = None,
    as_json: AsJson = False,
) -> None:
    """Embed files of records and write Parquet or a table, on this machine or on any Beam runner.

    The output holds the kept columns, `embedding`, `model_version` and the scores of heads. Rows that
    cannot be read go to `dead_letters/` in the output folder, with file, row and reason. So does the rest of
    a damaged file: the other files are done, and the exit code is 1. A table gets all rows in one commit.
    After an interruption, run the same command again to continue.
    """
    from pipelines.beam.backfill.job import claim_output
    from pipelines.beam.backfill.plan import plan_backfill
    from pipelines.beam.backfill.table import is_committed, open_output
    from pipelines.beam.runner_options import beam_options, check_detachable

    console = ErrorConsole()
    options = beam_options(beam_arguments or [], workers)
    if detach:
        check_detachable(options)
    with console.status("reading the model and the schema of the input"):
        job = plan_backfill(
            model=model,
            pattern=files.inputs,
            output=output,
            enrichment=enrichment.parse(),
            input_format=files.input_format,
            dialect=files.dialect.parse(),
            say=console.print,
            chunk_rows=rows_per_file,
            strict=strict,
            partition_by=partition_by,
        )
        job = open_output(job)
        counts = claim_output(job, is_committed=job.table is not None and is_committed(job))
    begin = time.monotonic()
    if counts is None and detach:
        _start(job, options, console)
        return
    if counts is None:
        counts, earlier = _run(job, options, console)
    else:
        console.print(f"{job.target} is already complete: nothing to do")
        earlier = counts.records
    seconds = round(time.monotonic() - begin, 1)
    if as_json:
        outcome = {**asdict(counts), "seconds": seconds, "model": job.model.label, "output": job.target}
        typer.echo(json.dumps(outcome))
    else:
        _print_summary(job, counts, earlier, seconds)
    if damaged := sorted({file for file, _ in counts.damaged}):
        raise UnreadableFile(
            f"{len(damaged):,} of {len(job.inputs):,} files cannot be read to the end, as {damaged[0]}: "
            "all else is written, and dead_letters/ says where each ends. Repair them, and embed them "
            "into another `output`"
        )


def _start(job: "BackfillJob", options: "PipelineOptions", console: ErrorConsole) -> None:
    from pipelines.beam.runner import start_backfill

    with suppress_output():
        start_backfill(job, options)
    console.print(
        f"submitted; {job.output}/_summary.json appears when the job is done. "
        "To check, run the same command again"
    )


def _run(job: "BackfillJob", options: "PipelineOptions", console: ErrorConsole) -> "tuple[Counts, int]":
    """Run the job; returns the counts of the output, and how many of its records earlier runs had written."""
    from pipelines.beam.runner import run_backfill

    total = sum(file.size for file in job.inputs)
    earlier: list[int] = []
    try:
        with console.progress("records", total) as show, show_own_warnings(), suppress_output():

            def report(counts: "Counts") -> None:
                earlier.append(counts.records)
                show(counts.input_bytes, counts.records - earlier[0])

            return run_backfill(job, options, report), earlier[0]
    except KeyboardInterrupt:
        console.print("interrupted: run the same command again to continue")
        raise typer.Exit(130) from None


def _print_summary(job: "BackfillJob", counts: "Counts", earlier: int, seconds: float) -> None:
    written = counts.records - earlier
    rate = f"  ({written / max(seconds, 0.1):,.0f} records/s)" if written else ""
    dead_letters = f"  {job.output}/dead_letters/" if counts.dead_letters else ""
    rows = {
        "records": f"{counts.records:,}",
        "rows with vectors": f"{counts.rows:,}",
        "dead letters": f"{counts.dead_letters:,}{dead_letters}",
        "model": f"{job.model.label}  {job.model.digest[:19]}",
        "output": f"{job.target}  ({counts.parts:,} files)",
        "time": f"{seconds:,.1f} s{rate}",
    }
    if counts.left_out:
        names = list(counts.left_out)
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        rows["left out"] = (
            f"{sum(counts.left_out.values()):,} values of fields that no column holds: "
            f"{', '.join(names[:_SHOWN])}{more} (name them in --keep)"
        )
    table = [list(row) for row in rows.items()]
    reasons = [reason if file in reason else f"{file}: {reason}" for file, reason in counts.damaged]
    print_table(None, table + damage_rows(reasons))
