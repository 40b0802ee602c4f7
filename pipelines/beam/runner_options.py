"""Beam's options: those of the user, and those that our jobs need on each runner."""

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
"""Beam's runner in this process, the default without `--runner`."""

DATAFLOW_RUNNER = "DataflowRunner"

IMAGE_VARIABLE = "MILLSTREAM_IMAGE"
"""The environment variable with the workers' image; the image that `deploy/dataflow` builds sets it."""

_CHECKPOINT_MS, _SHUTDOWN_MS = 10_000, 1000
_WITH_SEVERAL_READERS = (LOCAL_RUNNER, "FlinkRunner", DATAFLOW_RUNNER)
_OF_THIS_PROCESS = (LOCAL_RUNNER, "DirectRunner", "BundleBasedDirectRunner", "PrismRunner")
_SINGLE_PROCESS = "no_use_multiple_sdk_containers"
_CODE_OPTIONS = ("--sdk_container_image", "--setup_file", "--requirements_file", "--extra_package")


def beam_options(arguments: Sequence[str], workers: int | None) -> PipelineOptions:
    """Parse Beam's options.

    Args:
        arguments: Beam's arguments; if `--runner` is among them, they are used as they are.
        workers: threads of the local runner (the encoder and Arrow release the interpreter lock); None uses
            one for each core that is available to this process.

    Raises:
        ConfigurationError: Beam cannot parse them, or the workers would not have Millstream.
        MissingExtra: the runner is Dataflow, and Google's libraries are not installed.
    """
    arguments = _completed(arguments)
    local: list[str] = []
    if named_runner(arguments) is None:
        n = workers or len(os.sched_getaffinity(0))
        mode = "in_memory" if n == 1 else "multi_threading"
        local = [f"--runner={LOCAL_RUNNER}", f"--direct_num_workers={n}", f"--direct_running_mode={mode}"]
    stderr = io.StringIO()
    try:
        with redirect_stderr(stderr):
            options = PipelineOptions([*local, *arguments])
            options.get_all_options()
    except SystemExit as end:
        if not end.code:  # --help
            raise
        reason = stderr.getvalue().strip().rpartition("error: ")[2]
        raise ConfigurationError(f"Beam cannot parse the options after --: {reason}") from None
    return options


def named_runner(arguments: Sequence[str]) -> str | None:
    """The runner that Beam's arguments name, as `--runner=R` or `--runner R`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    named: str | None = parser.parse_known_args(arguments)[0].runner
    return named


def _completed(arguments: Sequence[str]) -> Sequence[str]:
    return dataflow_arguments(arguments) if named_runner(arguments) == DATAFLOW_RUNNER else arguments


def stream_options(arguments: Sequence[str], *, ends: bool) -> PipelineOptions:
    """Parse Beam's options for a streaming job, and add what Flink needs.

    Flink loses the source of a job whose first bundle meets a checkpoint, unless it finishes bundles before
    checkpoints. It writes no checkpoints unless it has an interval, and keeps a job running whose sources
    have ended unless it shuts idle sources down. Other runners ignore these options; Dataflow is not given
    them.

    Args:
        arguments: Beam's arguments.
        ends: whether the job's source ends.

    Raises:
        ConfigurationError: Beam cannot parse them, or the local runner would never write anything.
    """
    arguments = _completed(arguments)
    options = beam_options(arguments, 1)
    if options.view_as(StandardOptions).runner == LOCAL_RUNNER:
        if not ends:
            raise ConfigurationError(
                f"{LOCAL_RUNNER} writes windows only when the source ends: add --stop-at-end, or name "
                "another runner after --, such as --runner=PrismRunner"
            )
        return options
    names = {argument.split("=")[0] for argument in arguments}
    flink = ["--finish_bundle_before_checkpointing", f"--checkpointing_interval={_CHECKPOINT_MS}"]
    if ends:
        flink.append(f"--shutdown_sources_after_idle_ms={_SHUTDOWN_MS}")
    more = ("--streaming", *([] if named_runner(arguments) == DATAFLOW_RUNNER else flink))
    return PipelineOptions([*arguments, *(one for one in more if one.split("=")[0] not in names)])


def stream_readers(options: PipelineOptions, *, windows: bool) -> int | None:
    """How many readers a source has by default: one, or None for as many as it likes.

    Prism 2.77 uses the watermark of the reader that reported last as the source's watermark, not the lowest.
    With several readers it fires windows before all of their records are there, and delivers the rest only
    after the allowed lateness. `PortableRunner` may be Prism.

    Args:
        options: Beam's options.
        windows: whether the job has windows.
    """
    runner = options.view_as(StandardOptions).runner
    return 1 if windows and runner not in _WITH_SEVERAL_READERS else None


def check_detachable(options: PipelineOptions) -> None:
    """Refuse to detach from a job that would end with this process.

    Raises:
        ConfigurationError: its runner or its workers are this process or its children.
    """
    runner = options.view_as(StandardOptions).runner
    workers = options.view_as(PortableOptions).environment_type
    if runner in _OF_THIS_PROCESS or workers == "LOOPBACK":
        raise ConfigurationError(
            f"--detach: a job on {runner}{' with LOOPBACK workers' if workers == 'LOOPBACK' else ''} ends "
            "with this process: leave --detach out, or name a runner that is elsewhere"
        )


def dataflow_arguments(arguments: Sequence[str]) -> list[str]:
    """Add to Beam's arguments what our jobs need on Dataflow.

    Dataflow starts one Python process for each core of a worker, because most Python code holds the
    interpreter lock. The encoder and Arrow release it, so one process with a thread for each core is enough,
    and holds the model once.

    Args:
        arguments: Beam's arguments.

    Raises:
        MissingExtra: Google's libraries are not installed.
        ConfigurationError: the workers would start without Millstream, and fail.
    """
    try:
        found = find_spec("google.cloud.dataflow")
    except ModuleNotFoundError:  # its parent is missing too
        found = None
    if found is None:
        raise MissingExtra("google.cloud.dataflow", "gcp")
    given = {argument.partition("=")[0] for argument in arguments}
    more: list[str] = []
    if not given.intersection(_CODE_OPTIONS):
        image = os.environ.get(IMAGE_VARIABLE)
        if not image:
            raise ConfigurationError(
                f"{DATAFLOW_RUNNER} would start workers without Millstream: name an image that has it with "
                f"--sdk_container_image or {IMAGE_VARIABLE}; deploy/dataflow builds one"
            )
        more.append(f"--sdk_container_image={image}")
    if not any("use_multiple_sdk_containers" in argument for argument in arguments):
        more.append(f"--experiments={_SINGLE_PROCESS}")
    return [*arguments, *more]
