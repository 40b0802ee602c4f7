"""Options that are environment variables while a command runs."""

import os
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli.command import Command
from pipelines.cli.variables import with_variables

MOOD = "MILLSTREAM_TEST_MOOD"


@pytest.mark.parametrize("before", [None, "calm"])
def test_a_variable_holds_while_the_command_runs(monkeypatch, before):
    if before is None:
        monkeypatch.delenv(MOOD, raising=False)
    else:
        monkeypatch.setenv(MOOD, before)
    seen = []

    def command(name: str, fail: bool = False) -> None:
        seen.append((name, os.environ[MOOD]))
        if fail:
            raise OSError(name)

    options = {"mood": Annotated[str, typer.Option("--mood")]}
    app = typer.Typer()
    app.command(cls=Command)(with_variables(options, lambda mood: {MOOD: mood})(command))
    assert CliRunner().invoke(app, ["a", "--mood", "wild"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, ["b", "--mood", "mild", "--fail"]).exception, OSError)
    assert seen == [("a", "wild"), ("b", "mild")]
    assert os.environ.get(MOOD) == before
