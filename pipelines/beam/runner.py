"""Run a job on any Beam runner; by default in this process, with one thread a core."""

import logging
import os
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from encoder.errors import IntegrityError, MillstreamError
from pipelines.beam.backfill import backfill
from pipelines.beam.job import BackfillJob, Counts
from pipelines.beam.progress import Watch
from pipelines.sinks.parquet import ParquetParts

__all__ = ["beam_options", "run_backfill"]

LOCAL_RUNNER = "FnApiRunner"


def beam_options(arguments: Sequence[str], workers: int | None) -> PipelineOptions:
    """Options for Beam.

    Args:
        arguments: Beam's own, as on its command line; with `--runner` among them they are all that counts.
        workers: threads of the local runner (the encoder and Arrow hold no interpreter lock); None takes one
            for each core that this process may use.
    """
    if any(argument.split("=")[0] == "--runner" for argument in arguments):
        return PipelineOptions(list(arguments))
    n = workers or len(os.sched_getaffinity(0))
    mode = "in_memory" if n == 1 else "multi_threading"
    local = [f"--runner={LOCAL_RUNNER}", f"--direct_num_workers={n}", f"--direct_running_mode={mode}"]
    return PipelineOptions([*local, *arguments])


def run_backfill(job: BackfillJob, options: PipelineOptions, tell: Callable[[Counts], None]) -> Counts:
    """Run a backfill to its end.

    Args:
        job: what to do; its output must have been claimed.
        options: for Beam.
        tell: is told now and then how much of the output is there.

    Returns:
        The sum over all parts, those of earlier runs included.

    Raises:
        MillstreamError: what went wrong, in one line.
    """
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    written = frozenset(ParquetParts(job.output).names())
    with Watch(job, tell) as watch:
        try:
            pipeline = beam.Pipeline(options=options)
            backfill(pipeline, job, written)
            state = pipeline.run().wait_until_finish()
        except Exception as error:
            raise _cause(error) from error
    if state not in (None, PipelineState.DONE):
        raise IntegrityError(
            f"the Beam job ended as {state}: look into its log, then run the same command again"
        )
    return watch.look()


def _cause(error: BaseException) -> BaseException:
    """The error of ours behind what Beam raises, or the error itself."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MillstreamError):
            return type(seen)(str(seen).partition(" [while running")[0])
        seen = seen.__cause__
    return error
