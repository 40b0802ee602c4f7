"""`--cache-size`: what the jobs may keep on a machine."""

import os

import pytest
import typer.main
from typer.testing import CliRunner

from encoder.errors import ConfigurationError
from encoder.user_cache import cache_size
from pipelines.cli.app import app
from pipelines.cli.cache import caching
from pipelines.cli.command import Command, by_flag


def told(arguments):
    """What the size is within a command."""
    sizes = []

    def command() -> None:
        sizes.append((cache_size(), os.environ.get("MILLSTREAM_CACHE_SIZE")))

    own = typer.Typer()
    own.command(cls=Command)(caching(command))
    done = CliRunner().invoke(own, arguments)
    if done.exception is not None:
        raise done.exception
    return sizes[0]


def test_the_flag_goes_before_the_variable_and_that_before_the_default(monkeypatch):
    monkeypatch.delenv("MILLSTREAM_CACHE_SIZE", raising=False)
    assert told([]) == (2_000_000_000, None)
    monkeypatch.setenv("MILLSTREAM_CACHE_SIZE", "500MB")
    assert told([]) == (500_000_000, "500MB")
    assert told(["--cache-size", "1GiB"]) == (1 << 30, "1GiB")
    assert os.environ["MILLSTREAM_CACHE_SIZE"] == "500MB"


def test_a_size_that_cannot_be_read_is_said_before_the_work():
    with pytest.raises(ConfigurationError, match="cannot read the size 'much' of the cache"):
        told(["--cache-size", "much"])


@pytest.mark.parametrize("job", ["worker", "stream", "backfill"])
def test_every_job_has_it_and_so_has_the_file_of_its_options(job):
    option = by_flag(typer.main.get_command(app).commands[job])["--cache-size"]
    assert option.envvar == "MILLSTREAM_CACHE_SIZE"
