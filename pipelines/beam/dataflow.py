"""What a job of ours needs to run on Google Cloud Dataflow, beside Beam's own options."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

from encoder.errors import ConfigurationError, MissingExtra

__all__ = ["IMAGE_VARIABLE", "RUNNER", "dataflow_arguments"]

RUNNER = "DataflowRunner"

IMAGE_VARIABLE = "MILLSTREAM_IMAGE"
"""Environment variable with the image of the workers; the image of `deploy/dataflow` names itself in it."""

_ONE_PROCESS = "no_use_multiple_sdk_containers"
_WITH_CODE = ("--sdk_container_image", "--setup_file", "--requirements_file", "--extra_package")


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
                f"{RUNNER} would start workers that have no Millstream: name an image that has it in "
                f"--sdk_container_image or {IMAGE_VARIABLE}; deploy/dataflow makes one"
            )
        more.append(f"--sdk_container_image={image}")
    if not any("use_multiple_sdk_containers" in argument for argument in arguments):
        more.append(f"--experiments={_ONE_PROCESS}")
    return [*arguments, *more]
