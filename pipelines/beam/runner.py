"""Run a job on any Beam runner, and wait for its end or not."""

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from encoder import errors
from encoder.errors import ConfigurationError, IntegrityError, MillstreamError, NotInStore
from encoder.store.objects import open_objects
from pipelines.beam.backfill.job import SUMMARY_FILE, BackfillJob, Counts
from pipelines.beam.backfill.pipeline import backfill
from pipelines.beam.backfill.progress import Watch
from pipelines.beam.streaming.interfaces import StreamJob, stream
from pipelines.sinks.parquet import ParquetParts

__all__ = ["run_backfill", "run_stream", "start_backfill", "start_stream"]

# Workers behind a connection send their errors as text: the traceback, and Beam's step behind the last line.
_OURS = re.compile(r"^(?:.*: )?encoder\.errors\.(\w+): (.*?)(?: \[while running '.*)?$", re.MULTILINE)
_STEP = re.compile(r" \[while running '.*")


def start_backfill(job: BackfillJob, options: PipelineOptions) -> Any:
    """Hand a backfill to its runner, which makes all parts that are not there yet.

    Args:
        job: what to do; its output must have been claimed.
        options: for Beam.

    Returns:
        Beam's result, of a job that may be running still.

    Raises:
        MillstreamError: what went wrong, in one line.
    """
    written = frozenset(ParquetParts(job.output).names())
    return _start(options, lambda pipeline: backfill(pipeline, job, written))


def start_stream(job: StreamJob, options: PipelineOptions) -> Any:
    """Hand a streaming job to its runner.

    Returns:
        Beam's result, of a job that runs.

    Raises:
        MillstreamError: what went wrong, in one line.
    """
    return _start(options, lambda pipeline: stream(pipeline, job))


def _start(options: PipelineOptions, build: Callable[[beam.Pipeline], Any]) -> Any:
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:  # no such runner
        raise ConfigurationError(f"Beam cannot use the options behind --: {error}") from error
    try:
        build(pipeline)
        return pipeline.run()
    except Exception as error:
        raise _cause(error) from error


def run_backfill(job: BackfillJob, options: PipelineOptions, tell: Callable[[Counts], None]) -> Counts:
    """Run a backfill to its end.

    Args:
        job: what to do; its output must have been claimed.
        options: for Beam.
        tell: is told now and then how much of the output is there; at once what earlier runs made.

    Returns:
        The sum over all parts, those of earlier runs included.

    Raises:
        MillstreamError: what went wrong, in one line.
        KeyboardInterrupt: somebody stopped it.
    """
    parts = ParquetParts(job.output)
    watch = Watch(job, tell)
    tell(watch.look())
    with watch:
        result = start_backfill(job, options)
        try:
            state = result.wait_until_finish()
        except Exception as error:
            raise _cause(error) from error
    found = watch.look()
    complete = len(parts.names()) == found.parts and asdict(found).items() <= _summary(job).items()
    if state not in (None, PipelineState.DONE) or not complete:  # a job may end well and have lost work
        raise IntegrityError(
            f"the Beam job ended as {state} and its output is not complete: "
            "look into its log, then run the same command again"
        )
    parts.sweep()
    return found


def run_stream(job: StreamJob, options: PipelineOptions) -> None:
    """Run a streaming job until its source ends, or until somebody stops it.

    Raises:
        MillstreamError: what went wrong, in one line.
        KeyboardInterrupt: somebody stopped it; the job is cancelled.
    """
    result = None
    try:
        result = start_stream(job, options)
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        if result is not None:
            result.cancel()
        raise
    except Exception as error:
        raise _cause(error) from error
    if state not in (None, PipelineState.DONE):
        raise IntegrityError(f"the Beam job ended as {state}: look into its log, then start it again")
    job.output.finish()


def _summary(job: BackfillJob) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = msgspec.json.decode(open_objects(job.output).read(SUMMARY_FILE))
    except NotInStore:
        return {}
    return summary


def _cause(error: BaseException) -> BaseException:
    """The error of ours behind what Beam raises; anything else in one line."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MillstreamError):
            return _again(type(seen), _STEP.sub("", str(seen)))
        seen = seen.__cause__
    for name, message in reversed(_OURS.findall(str(error))):
        if name in errors.__all__:
            return _again(getattr(errors, name), message)
    lines = _STEP.sub("", str(error)).strip().splitlines() or [type(error).__name__]
    if lines[-1].startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    return MillstreamError(f"the Beam job failed: {lines[-1]} (--debug shows where)")


def _again(kind: type[MillstreamError], message: str) -> MillstreamError:
    return kind.__new__(kind, message)  # some kinds make their message themselves
