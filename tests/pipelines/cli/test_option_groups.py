"""Dataclasses of options become options of a command."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli.option_groups import expand_options


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: Annotated[int, typer.Option()] = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    width: Annotated[int, typer.Option()] = 2
    name: Annotated[str, typer.Option()]


@pytest.fixture
def received():
    return []


@pytest.fixture
def command(received):
    @expand_options
    def command(context: typer.Context, outer: Outer, loud: bool = False) -> None:
        received.append((outer, loud, context.params))

    return command


def invoke(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def test_a_group_becomes_options_and_the_command_receives_the_group(command, received):
    assert invoke(command, "--name", "x", "--depth", "5", "--loud").exit_code == 0
    ((outer, loud, parameters),) = received
    assert outer == Outer(name="x", inner=Inner(depth=5))
    assert loud
    assert parameters == {"name": "x", "depth": 5, "width": 2, "loud": True}


def test_a_field_without_a_default_is_a_required_option(command, received):
    result = invoke(command)
    assert result.exit_code == 2
    assert "--name" in result.output
    assert not received


def test_required_options_stand_first(command):
    assert list(inspect.signature(command).parameters) == ["context", "name", "depth", "width", "loud"]
