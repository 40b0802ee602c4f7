"""Run a job on any Beam runner; by default in this process, with one thread a core."""

import io
import os
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from encoder import errors
from encoder.errors import ConfigurationError, IntegrityError, MillstreamError, NotInStore
from encoder.store.objects import open_objects
from pipelines.beam.backfill import backfill
from pipelines.beam.job import SUMMARY_FILE, BackfillJob, Counts
from pipelines.beam.progress import Watch
from pipelines.beam.stream import StreamJob, stream
from pipelines.sinks.parquet import ParquetParts

__all__ = ["beam_options", "run_backfill", "run_stream", "stream_options"]

LOCAL_RUNNER = "FnApiRunner"
_CHECKPOINT_MS = 10_000

# Workers behind a connection send their errors as text: the traceback, and Beam's step behind the last line.
_OURS = re.compile(r"^(?:.*: )?encoder\.errors\.(\w+): (.*?)(?: \[while running '.*)?$", re.MULTILINE)
_STEP = re.compile(r" \[while running '.*")


def beam_options(arguments: Sequence[str], workers: int | None) -> PipelineOptions:
    """Options for Beam.

    Args:
        arguments: Beam's own, as on its command line; with `--runner` among them they are all that counts.
        workers: threads of the local runner (the encoder and Arrow hold no interpreter lock); None takes one
            for each core that this process may use.

    Raises:
        ConfigurationError: Beam cannot read them.
    """
    local: list[str] = []
    if not any(argument.split("=")[0] == "--runner" for argument in arguments):
        n = workers or len(os.sched_getaffinity(0))
        mode = "in_memory" if n == 1 else "multi_threading"
        local = [f"--runner={LOCAL_RUNNER}", f"--direct_num_workers={n}", f"--direct_running_mode={mode}"]
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            options = PipelineOptions([*local, *arguments])
            options.get_all_options()
    except SystemExit as end:
        if not end.code:  # --help
            raise
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ConfigurationError(f"Beam cannot read the options behind --: {reason}") from None
    return options


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
    written = frozenset(parts.names())
    watch = Watch(job, tell)
    tell(watch.look())
    with watch:
        try:
            pipeline = beam.Pipeline(options=options)
        except ValueError as error:  # no such runner
            raise ConfigurationError(f"Beam cannot use the options behind --: {error}") from error
        try:
            backfill(pipeline, job, written)
            state = pipeline.run().wait_until_finish()
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


def stream_options(arguments: Sequence[str], *, ends: bool) -> PipelineOptions:
    """Options for a streaming job.

    Flink loses the source of a job whose first bundle meets a checkpoint, unless it is told to finish
    bundles first; and it keeps no checkpoints, unless it is told how often. Both are added; other runners
    ignore them.

    Args:
        arguments: Beam's own, as on its command line.
        ends: whether the job's source ends.

    Raises:
        ConfigurationError: Beam cannot read them, or the local runner would never write anything.
    """
    options = beam_options(arguments, 1)
    if options.view_as(StandardOptions).runner == LOCAL_RUNNER:
        if not ends:
            raise ConfigurationError(
                f"{LOCAL_RUNNER} writes windows only when the source ends: add --stop-at-end, or name "
                "another runner behind --, as --runner=PrismRunner"
            )
        return options
    names = {argument.split("=")[0] for argument in arguments}
    more = (
        "--streaming",
        "--finish_bundle_before_checkpointing",
        f"--checkpointing_interval={_CHECKPOINT_MS}",
    )
    return PipelineOptions([*arguments, *(one for one in more if one.split("=")[0] not in names)])


def run_stream(job: StreamJob, options: PipelineOptions) -> None:
    """Run a streaming job until its source ends, or until somebody stops it.

    Raises:
        MillstreamError: what went wrong, in one line.
        KeyboardInterrupt: somebody stopped it; the job is cancelled.
    """
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:  # no such runner
        raise ConfigurationError(f"Beam cannot use the options behind --: {error}") from error
    result = None
    try:
        stream(pipeline, job)
        result = pipeline.run()
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        if result is not None:
            result.cancel()
        raise
    except Exception as error:
        raise _cause(error) from error
    if state not in (None, PipelineState.DONE):
        raise IntegrityError(f"the Beam job ended as {state}: look into its log, then start it again")
    ParquetParts(job.file.output).sweep()


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
