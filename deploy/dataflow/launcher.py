"""The program of a Dataflow Flex Template: runs `millstream COMMAND --detach` with the template's parameters.

The service starts it with `--name=value` for each parameter of the template and each option of the job. The
image says which command it is for, `backfill` or `stream`, in the environment variable `MILLSTREAM_TEMPLATE`.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer.main

from encoder.errors import ConfigurationError
from pipelines.beam.runner_options import DATAFLOW_RUNNER
from pipelines.cli.app import app, main
from pipelines.cli.command import by_flag


def command_line(command: str, arguments: Sequence[str]) -> list[str]:
    """Translate a template's parameters into the arguments of `millstream`.

    Args:
        command: `backfill` or `stream`.
        arguments: `--name=value`, with underscores where the command's option has hyphens. An empty value
            means that the parameter was left out. A switch is `true` or `false`. An option that may be
            repeated takes one value from each line. Arguments that are not the command's go to Beam.

    Raises:
        ConfigurationError: the value of a switch is neither true nor false.
    """
    options = _options(command)
    own: list[str] = []
    beam: list[str] = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        flag = "--" + name.removeprefix("--").replace("_", "-")
        if flag not in options:
            beam.append(argument)
        elif options[flag].is_flag:
            own += [flag] * _is_true(name, value)
        elif options[flag].multiple:
            own += [f"{flag}={line.strip()}" for line in value.splitlines() if line.strip()]
        elif value:
            own.append(f"{flag}={value}")
    if not any(argument.startswith("--runner=") for argument in beam):
        beam.append(f"--runner={DATAFLOW_RUNNER}")
    return [command, *own, "--detach", "--", *beam]


def _options(command: str) -> dict[str, Any]:
    """The command's options by their flags."""
    group: Any = typer.main.get_command(app)
    return by_flag(group.commands[command])


def _is_true(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", ""):
        raise ConfigurationError(f"{name}={value} is neither true nor false: use one of them")
    return value.lower() == "true"


if __name__ == "__main__":
    os.environ.setdefault("MILLSTREAM_DEBUG", "1")  # the launcher's log is all that users see of it
    sys.argv = ["millstream", *command_line(os.environ["MILLSTREAM_TEMPLATE"], sys.argv[1:])]
    main()
