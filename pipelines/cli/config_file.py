"""A command's options in a TOML file, named as on the command line; and times as both write them: `1.5h`."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from encoder.errors import ConfigurationError
from pipelines.cli.command import by_flag

__all__ = ["from_file", "seconds", "set_defaults"]

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Take the options of a TOML file as defaults: the command line and the environment go before them."""
    if path is None:
        return None
    try:
        options = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    unknown = [key for key in options if key not in _by_flag(context) or key == "config"]
    if unknown:
        raise ConfigurationError(
            f"{path} has the unknown option {unknown[0]!r}: options are named as on the command line, "
            "without the dashes"
        )
    set_defaults(context, options)
    return path


def set_defaults(context: typer.Context, options: dict[str, Any], *, over: bool = True) -> None:
    """Give options other defaults.

    Args:
        context: of the command.
        options: by their flags, without the dashes; values as TOML has them.
        over: whether they go before defaults that were set in this way before.
    """
    known = _by_flag(context)
    new = {
        known[key].name or key: _option(value, several=getattr(known[key], "multiple", False))
        for key, value in options.items()
    }
    before = dict(context.default_map or {})
    context.default_map = before | new if over else new | before


def _by_flag(context: typer.Context) -> dict[str, Any]:
    return {flag.removeprefix("--"): option for flag, option in by_flag(context.command).items()}


def _option(value: Any, *, several: bool) -> Any:
    """A value of TOML as the command line would have it; a table is a list of KEY=VALUE."""
    if isinstance(value, dict):
        return [f"{key}={inner}" for key, inner in _flat(value)]
    return [value] if several and not isinstance(value, list) else value


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"sasl": {"username": "x"}}`, which TOML makes of `sasl.username`, back as `sasl.username`."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else value


def seconds(text: str, flag: str) -> float:
    """A time in seconds; a number alone is seconds.

    Raises:
        ConfigurationError: the text is no time; the message names the flag.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{flag} {text!r} is no time: write 30s, 5m, 1h or 2d")
    return float(match[1]) * _UNITS[match[2]]
