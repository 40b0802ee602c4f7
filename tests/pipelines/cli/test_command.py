"""Errors of the library name parameters, and commands show their flags."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from encoder.errors import ConfigurationError, MissingExtra
from pipelines.cli.command import Command

app = typer.Typer(pretty_exceptions_enable=False)


@app.command(cls=Command)
def command(
    message: Annotated[str, typer.Argument(metavar="TEXT")],
    sif: float = 0.5,
    drop_pattern: str | None = None,
    records: Annotated[str | None, typer.Option("--input")] = None,
    sts: str | None = None,
) -> None:
    """Fail with a message."""
    assert locals().keys() == {"message", "sif", "drop_pattern", "records", "sts"}
    if message == "import":
        raise ModuleNotFoundError(f"No module named {drop_pattern!r}", name=drop_pattern)
    raise MissingExtra("torch", "distill") if message == "torch" else ConfigurationError(message)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("prometheus_client", "prometheus_client is not installed: pip install 'millstream[kafka]'"),
        ("torch.nn", "torch is not installed: pip install 'millstream[distill]'"),
        ("google.protobuf", "google.protobuf is not installed: pip install 'millstream[kafka-schemas]'"),
        ("torchvision", None),
        ("google", None),
    ],
)
def test_a_missing_package_names_its_extra(module, expected):
    error = CliRunner().invoke(app, ["import", "--drop-pattern", module]).exception
    assert isinstance(error, MissingExtra if expected else ModuleNotFoundError)
    assert str(error) == (expected or f"No module named {module!r}")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`sif` is 2", "--sif is 2"),
        ("`drop_pattern` drops every token", "--drop-pattern drops every token"),
        ("give `records` or `pairs`", "give --input or --sts"),
        ("`message` is too long", "TEXT is too long"),
        ("`other` and `millstream models publish`", "other and `millstream models publish`"),
        ("torch", "torch is not installed: pip install 'millstream[distill]'"),
    ],
)
def test_parameters_become_flags(message, expected):
    error = CliRunner().invoke(app, [message]).exception
    assert isinstance(error, ConfigurationError)
    assert str(error) == expected
