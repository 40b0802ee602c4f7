"""Run a job on any Beam runner, with or without waiting for its end."""

import re
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from encoder import errors
from encoder.errors import ConfigurationError, IntegrityError, MillstreamError, NotInStore
from encoder.store.objects import open_objects
from pipelines.beam.backfill.job import SUMMARY_FILE, BackfillJob, Counts
from pipelines.beam.backfill.pipeline import backfill
from pipelines.beam.backfill.progress import ProgressMonitor
from pipelines.beam.streaming.interfaces import StreamJob, stream
from pipelines.beam.transforms.metrics import DAMAGED

__all__ = ["run_backfill", "run_stream", "start_backfill", "start_stream"]

# Remote workers send an error as text: the traceback, with Beam's step after the last line.
_OURS = re.compile(r"^(?:.*: )?encoder\.errors\.(\w+): (.*?)(?: \[while running '.*)?$", re.MULTILINE)
_STEP = re.compile(r" \[while running '.*")


def start_backfill(job: BackfillJob, options: PipelineOptions) -> Any:
    """Submit a backfill to its runner, which writes the parts that are missing.

    Args:
        job: the job; its output must have been claimed.
        options: Beam's options.

    Returns:
        Beam's result; the job may still be running.

    Raises:
        MillstreamError: what went wrong, in one line.
    """
    written = frozenset(job.parts().names())
    return _start(options, lambda pipeline: backfill(pipeline, job, written))


def start_stream(job: StreamJob, options: PipelineOptions) -> Any:
    """Submit a streaming job to its runner.

    Returns:
        Beam's result; the job is running.

    Raises:
        MillstreamError: what went wrong, in one line.
    """
    return _start(options, lambda pipeline: stream(pipeline, job))


def _start(options: PipelineOptions, build: Callable[[beam.Pipeline], Any]) -> Any:
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:  # no such runner
        raise ConfigurationError(f"Beam cannot use the options after --: {error}") from error
    try:
        build(pipeline)
        return pipeline.run()
    except Exception as error:
        raise _cause(error) from error


def run_backfill(job: BackfillJob, options: PipelineOptions, report: Callable[[Counts], None]) -> Counts:
    """Run a backfill and wait for its end.

    Args:
        job: the job; its output must have been claimed.
        options: Beam's options.
        report: called with the counts so far, at first with those of earlier runs.

    Returns:
        The sum over all parts, including those of earlier runs.

    Raises:
        MillstreamError: what went wrong, in one line.
        KeyboardInterrupt: somebody stopped it.
    """
    parts = job.parts()
    monitor = ProgressMonitor(job, report)
    report(monitor.poll())
    with monitor:
        result = start_backfill(job, options)
        try:
            state = result.wait_until_finish()
        except Exception as error:
            raise _cause(error) from error
    found = monitor.poll()
    complete = len(parts.names()) == found.parts and found == _summary(job)
    if state not in (None, PipelineState.DONE) or not complete:  # a job may end well and have lost work
        raise IntegrityError(
            f"the Beam job ended as {state} and its output is not complete: "
            "check its log, then run the same command again"
        )
    parts.sweep()
    return found


def run_stream(job: StreamJob, options: PipelineOptions) -> list[str]:
    """Run a streaming job until its source ends, or until somebody stops it.

    Returns:
        The files that cannot be read to their end, each with the reason.

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
        raise IntegrityError(f"the Beam job ended as {state}: check its log, then start it again")
    job.sink.finish()
    return _damaged(result)


def _damaged(result: Any) -> list[str]:
    found = result.metrics().query(MetricsFilter().with_namespace(DAMAGED))
    return sorted({one.key.metric.name for one in found[MetricResults.COUNTERS]})


def _summary(job: BackfillJob) -> Counts | None:
    try:
        return Counts.of_summary(msgspec.json.decode(open_objects(job.output).read(SUMMARY_FILE)))
    except NotInStore:
        return None


def _cause(error: BaseException) -> BaseException:
    """The Millstream error behind an error of Beam; any other error in one line."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MillstreamError):
            return _with_message(type(seen), _STEP.sub("", str(seen)))
        seen = seen.__cause__
    for name, message in reversed(_OURS.findall(str(error))):
        if name in errors.__all__:
            return _with_message(getattr(errors, name), message)
    lines = _STEP.sub("", str(error)).strip().splitlines() or [type(error).__name__]
    if lines[-1].startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    return MillstreamError(f"the Beam job failed: {lines[-1]} (--debug shows where)")


def _with_message(kind: type[MillstreamError], message: str) -> MillstreamError:
    return kind.__new__(kind, message)  # the constructors of some kinds write their own message
