"""Options from a TOML file, and durations such as `1.5h` in options."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from encoder.errors import ConfigurationError
from pipelines.cli.command import by_flag

__all__ = ["from_file", "set_defaults"]


def from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options in a TOML file defaults, which the command line and the environment override."""
    if path is None:
        return None
    try:
        options = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    unknown = [key for key in options if key not in _by_flag(context) or key == "config"]
    if unknown:
        raise ConfigurationError(
            f"{path} has the unknown option {unknown[0]!r}: name options as on the command line, without the "
            "dashes"
        )
    set_defaults(context, options)
    return path


def set_defaults(context: typer.Context, options: dict[str, Any], *, over: bool = True) -> None:
    """Give options new defaults.

    Args:
        context: of the command.
        options: the defaults as TOML has them, by flag without the dashes.
        over: whether they override defaults that were set here before.
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
    """A value of TOML as on the command line; a table becomes a list of KEY=VALUE."""
    if isinstance(value, dict):
        return [f"{key}={inner}" for key, inner in _flat(value)]
    return [value] if several and not isinstance(value, list) else value


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Undo TOML's nesting: `{"sasl": {"username": "x"}}` becomes `sasl.username`."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else value
