import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from encoder.errors import ConfigurationError
from pipelines.cli.config_file import from_file, set_defaults
from pipelines.records.durations import seconds


@pytest.fixture
def called():
    """What a command with a few options is called with, beside defaults that it sets itself."""

    def call(arguments, defaults=None, over=True):
        seen = {}
        app = typer.Typer()

        def own(context: typer.Context, value: bool) -> bool:
            if value:
                set_defaults(context, defaults, over=over)
            return value

        @app.command()
        def command(
            config: Annotated[Path | None, typer.Option(callback=from_file, is_eager=True)] = None,
            preset: Annotated[bool, typer.Option("--preset", callback=own, is_eager=True)] = False,
            name: str = "none",
            several: Annotated[list[str] | None, typer.Option("--one")] = None,
            rate: int = 1,
        ):
            del config, preset
            seen.update(name=name, several=several, rate=rate)

        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return seen

    return call


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "options.toml"
        path.write_text(text)
        return path

    return write


def test_a_table_is_a_list_of_pairs_whatever_its_nesting(called, file):
    text = '[one]\nsecurity.protocol = "SSL"\n"linger.ms" = 5\nenable.it = true\n'
    assert called(["--config", file(text)])["several"] == [
        "security.protocol=SSL",
        "linger.ms=5",
        "enable.it=true",
    ]


def test_one_value_stands_for_a_list(called, file):
    assert called(["--config", file('one = "x"\nrate = 7\n')]) == {
        "name": "none",
        "several": ["x"],
        "rate": 7,
    }


@pytest.mark.parametrize(("over", "name"), [(True, "preset"), (False, "file")])
def test_defaults_of_two_origins_go_one_before_the_other(over, name, called, file):
    arguments = ["--config", file('name = "file"\n'), "--preset"]
    found = called(arguments, {"name": "preset", "rate": 9}, over)
    assert (found["name"], found["rate"]) == (name, 9)


def test_the_command_line_goes_before_defaults(called):
    assert called(["--preset", "--name", "line"], {"name": "preset"})["name"] == "line"


@pytest.mark.parametrize("key", ["nmae", "config"])
def test_what_is_no_option_is_named(key, called, file):
    with pytest.raises(ConfigurationError, match=f"unknown option '{key}'"):
        called(["--config", file(f"{key} = {json.dumps('x')}\n")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("5m", 300), ("1.5h", 5400), ("2d", 172800), ("7", 7), (" 250 ms ", 0.25), ("0", 0)],
)
def test_times_are_read(text, expected):
    assert seconds(text, "--every") == expected


@pytest.mark.parametrize("text", ["", "s", "-1s", "1w", "1h30m", "one"])
def test_other_texts_are_no_times(text):
    with pytest.raises(ConfigurationError, match=f"--every '{text}' is not a duration"):
        seconds(text, "--every")
