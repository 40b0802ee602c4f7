"""Options for Beam: the user's, and those that our jobs need on each runner."""

import argparse
import io
import os
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib.util import find_spec

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions

from encoder.errors import ConfigurationError, MissingExtra

__all__ = [
    "DATAFLOW_RUNNER",
    "IMAGE_VARIABLE",
    "LOCAL_RUNNER",
    "beam_options",
    "check_detachable",
    "dataflow_arguments",
    "named_runner",
    "stream_options",
    "stream_readers",
]

LOCAL_RUNNER = "FnApiRunner"
"""Beam's runner in this process, which a job without `--runner` gets."""

DATAFLOW_RUNNER = "DataflowRunner"

IMAGE_VARIABLE = "MILLSTREAM_IMAGE"
"""Environment variable with the image of the workers; the image of `deploy/dataflow` names itself in it."""

_ONE_PROCESS = "no_use_multiple_sdk_containers"
_WITH_CODE = ("--sdk_container_image", "--setup_file", "--requirements_file", "--extra_package")

_CHECKPOINT_MS, _SHUTDOWN_MS = 10_000, 1000
_MANY_READERS = (LOCAL_RUNNER, "FlinkRunner", "DataflowRunner")
_OF_THIS_PROCESS = (LOCAL_RUNNER, "DirectRunner", "BundleBasedDirectRunner", "PrismRunner")


def beam_options(arguments: Sequence[str], workers: int | None) -> PipelineOptions:
    """Options for Beam.

    Args:
        arguments: Beam's own, as on its command line; with `--runner` among them they are all that counts.
        workers: threads of the local runner (the encoder and Arrow hold no interpreter lock); None takes one
            for each core that this process may use.

    Raises:
        ConfigurationError: Beam cannot read them, or the workers would not have Millstream.
        MissingExtra: the runner is Dataflow, and Google's libraries are not installed.
    """
    arguments = _with_needs(arguments)
    local: list[str] = []
    if named_runner(arguments) is None:
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


def named_runner(arguments: Sequence[str]) -> str | None:
    """The runner that Beam's arguments name, as `--runner=R` or `--runner R`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    named: str | None = parser.parse_known_args(arguments)[0].runner
    return named


def _with_needs(arguments: Sequence[str]) -> Sequence[str]:
    return dataflow_arguments(arguments) if named_runner(arguments) == DATAFLOW_RUNNER else arguments


def stream_options(arguments: Sequence[str], *, ends: bool) -> PipelineOptions:
    """Options for a streaming job.

    Flink loses the source of a job whose first bundle meets a checkpoint, unless it is told to finish
    bundles first; it keeps no checkpoints, unless it is told how often; and a job whose sources have ended
    goes on, unless it is told to shut them down. All that is added; other runners ignore it, and Dataflow
    does not get it.

    Args:
        arguments: Beam's own, as on its command line.
        ends: whether the job's source ends.

    Raises:
        ConfigurationError: Beam cannot read them, or the local runner would never write anything.
    """
    arguments = _with_needs(arguments)
    options = beam_options(arguments, 1)
    if options.view_as(StandardOptions).runner == LOCAL_RUNNER:
        if not ends:
            raise ConfigurationError(
                f"{LOCAL_RUNNER} writes windows only when the source ends: add --stop-at-end, or name "
                "another runner behind --, as --runner=PrismRunner"
            )
        return options
    names = {argument.split("=")[0] for argument in arguments}
    flink = ["--finish_bundle_before_checkpointing", f"--checkpointing_interval={_CHECKPOINT_MS}"]
    if ends:
        flink.append(f"--shutdown_sources_after_idle_ms={_SHUTDOWN_MS}")
    more = ("--streaming", *([] if named_runner(arguments) == DATAFLOW_RUNNER else flink))
    return PipelineOptions([*arguments, *(one for one in more if one.split("=")[0] not in names)])


def stream_readers(options: PipelineOptions, *, windows: bool) -> int | None:
    """How many readers a source may have where nobody says: one, or None for as many as it likes.

    Prism 2.77 takes for the watermark of a source that of the reader which spoke last, not the lowest. With
    several it fires windows before all of their records are there; and what comes late it hands on only when
    the time for late records is over. `PortableRunner` may be Prism.

    Args:
        options: Beam's.
        windows: whether the job has any.
    """
    runner = options.view_as(StandardOptions).runner
    return 1 if windows and runner not in _MANY_READERS else None


def check_detachable(options: PipelineOptions) -> None:
    """Refuse to leave a job alone that would end with this process.

    Raises:
        ConfigurationError: its runner or its workers are this process or children of it.
    """
    runner = options.view_as(StandardOptions).runner
    workers = options.view_as(PortableOptions).environment_type
    if runner in _OF_THIS_PROCESS or workers == "LOOPBACK":
        raise ConfigurationError(
            f"--detach: a job on {runner}{' with LOOPBACK workers' if workers == 'LOOPBACK' else ''} ends "
            "with this process: leave --detach out, or name a runner that is elsewhere"
        )


def dataflow_arguments(arguments: Sequence[str]) -> list[str]:
    """Beam's arguments for Dataflow, with what ours cannot do without.

    Dataflow starts a Python process for each core of a worker, since most Python code holds the interpreter's
    lock. The encoder and Arrow do not: one process with a thread for each core does, and holds one model.

    Args:
        arguments: Beam's own, as on its command line.

    Raises:
        MissingExtra: Google's libraries are not installed.
        ConfigurationError: the workers would start without Millstream, and fail.
    """
    try:
        found = find_spec("google.cloud.dataflow")
    except ModuleNotFoundError:  # not even its parent
        found = None
    if found is None:
        raise MissingExtra("google.cloud.dataflow", "gcp")
    given = {argument.partition("=")[0] for argument in arguments}
    more: list[str] = []
    if not given.intersection(_WITH_CODE):
        image = os.environ.get(IMAGE_VARIABLE)
        if not image:
            raise ConfigurationError(
                f"{DATAFLOW_RUNNER} would start workers without Millstream: name an image that has it with "
                f"--sdk_container_image or {IMAGE_VARIABLE}; deploy/dataflow builds one"
            )
        more.append(f"--sdk_container_image={image}")
    if not any("use_multiple_sdk_containers" in argument for argument in arguments):
        more.append(f"--experiments={_ONE_PROCESS}")
    return [*arguments, *more]
