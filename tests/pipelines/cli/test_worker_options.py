"""Every option of the worker, from a flag, from the environment and from a file, and which of them wins."""

import json
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import typer.main

from pipelines.cli.app import app
from pipelines.cli.worker.command import worker
from pipelines.worker.configuration.settings import WorkerSettings

GROUP = typer.main.get_command(app)
OPTIONS = {
    parameter.opts[0].removeprefix("--"): parameter
    for parameter in GROUP.commands["worker"].params
    if parameter.opts[0] not in ("--config", "--help", "--trust", "--trust-policy", "--cache-size")
}
TYPES = {
    name: get_args(one.annotation)[0]
    for name, one in signature(worker).parameters.items()
    if name != "context"
}
REQUIRED = [flag for flag, parameter in OPTIONS.items() if parameter.required]


def values(parameter):
    """Three values of an option's type, for the file, the environment and the command line."""
    hint = TYPES[parameter.name]
    kinds = {hint, *get_args(hint)}
    if bool in kinds:
        return [True, False, True]
    if int in kinds:
        return [101, 102, 103]
    if float in kinds:
        return [101.5, 102.5, 103.5]
    if get_origin(hint) is Literal:
        first, second, *_ = get_args(hint)
        return [first, second, first]
    assert kinds & {str, list[str], list[Path], Path}, hint
    return ["of-file=1", "of-environment=1", "of-line=1"]


def as_flags(flag, parameter, value):
    return [f"--{flag}"] if parameter.is_flag else [f"--{flag}", str(value)]


def as_variable(parameter, value):
    text = str(int(value)) if parameter.is_flag else str(value)
    return f"MILLSTREAM_WORKER_{parameter.opts[0].removeprefix('--').upper().replace('-', '_')}", text


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What the worker is called with for some options in a file, the environment and on the command line."""

    def call(flag, file=None, environment=None, line=None):
        parameter = OPTIONS[flag]
        options = {one: "x" for one in REQUIRED if one != flag}
        if file is not None:
            options[flag] = file
        path = tmp_path / "worker.toml"
        path.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items()))
        arguments = ["worker", "--config", str(path)]
        if line is not None:
            arguments += as_flags(flag, parameter, line)
        seen = {}
        with monkeypatch.context() as patch:
            if environment is not None:
                patch.setenv(*as_variable(parameter, environment))
            patch.setattr(GROUP.commands["worker"], "callback", lambda **options: seen.update(options))
            GROUP.main(arguments, standalone_mode=False)
        found = seen[parameter.name]
        if isinstance(found, list | tuple):
            [found] = found
        return str(found) if isinstance(found, Path) else found

    return call


@pytest.mark.parametrize("flag", OPTIONS)
def test_an_option_can_be_set_in_three_ways_and_the_nearest_one_wins(flag, told):
    of_file, of_environment, of_line = values(OPTIONS[flag])
    assert told(flag, file=of_file) == of_file
    assert told(flag, environment=of_environment) == of_environment
    assert told(flag, line=of_line) == of_line
    assert told(flag, of_file, of_environment) == of_environment
    assert told(flag, of_file, of_environment, of_line) == of_line
    assert told(flag, file=of_file, line=of_line) == of_line


@pytest.mark.parametrize(
    ("flag", "older"),
    [
        ("input", "INPUTS"),
        ("output", "OUTPUTS"),
        ("output-format", "FORMAT"),
        ("property", "PROPERTIES"),
        ("property-file", "PROPERTY_FILES"),
    ],
)
def test_older_names_of_variables_are_read(flag, older, told, monkeypatch):
    *_, value = values(OPTIONS[flag])
    monkeypatch.setenv(f"MILLSTREAM_WORKER_{older}", value)
    assert told(flag) == value


def test_every_setting_is_an_option():
    own = {"ui", "check", "demo", "demo_seconds", "demo_rate"}
    assert {parameter.name for parameter in OPTIONS.values()} - own == {
        f.name for f in fields(WorkerSettings)
    }
