"""The launcher of a Dataflow Flex Template: its parameters are the flags of a command, and Beam's options.

The service starts a Python file of the image with `--name=value` for each parameter of the template and each
option of the job. What starts here is the command of the same name with `--detach`, and so the same pipeline.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer.main

from encoder.errors import ConfigurationError
from pipelines.beam.dataflow import RUNNER
from pipelines.cli.app import app, main

__all__ = ["command_line", "launch"]


def launch(command: str) -> None:
    """Start the job that this process's arguments describe, and return when the service has it.

    Args:
        command: `backfill` or `stream`.
    """
    os.environ.setdefault("MILLSTREAM_DEBUG", "1")  # the launcher's log is all that there is to see
    sys.argv = ["millstream", *command_line(command, sys.argv[1:])]
    main()


def command_line(command: str, arguments: Sequence[str]) -> list[str]:
    """The words behind `millstream` that do what a template's parameters say.

    Args:
        command: `backfill` or `stream`.
        arguments: `--name=value`; a name has underscores where the command's flag has hyphens. An empty value
            is that of a parameter that was left out; a flag's is `true` or `false`; a flag that may be given
            several times takes its values from the lines of one. All that is not the command's goes to Beam.

    Raises:
        ConfigurationError: a flag is neither true nor false.
    """
    options = _options(command)
    own: list[str] = []
    beams: list[str] = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        flag = "--" + name.removeprefix("--").replace("_", "-")
        if flag not in options:
            beams.append(argument)
        elif options[flag].is_flag:
            own += [flag] * _truth(name, value)
        elif options[flag].multiple:
            own += [f"{flag}={line.strip()}" for line in value.splitlines() if line.strip()]
        elif value:
            own.append(f"{flag}={value}")
    if not any(argument.startswith("--runner=") for argument in beams):
        beams.append(f"--runner={RUNNER}")
    return [command, *own, "--detach", "--", *beams]


def _options(command: str) -> dict[str, Any]:
    """The command's options by their flags."""
    group: Any = typer.main.get_command(app)
    parameters = group.commands[command].params
    return {flag: option for option in parameters for flag in option.opts if flag.startswith("--")}


def _truth(name: str, value: str) -> bool:
    said = value.lower()
    if said not in ("true", "false", ""):
        raise ConfigurationError(f"{name}={value}: say true or false")
    return said == "true"
