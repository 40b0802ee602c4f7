"""What all commands share: readable help, options from the environment, and flags' old names."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from encoder.errors import MillstreamError, MissingExtra
from pipelines.cli.options import OPERATIONS, SIGNATURES, TEXT_FILES

__all__ = ["Command", "Group", "by_flag", "with_old_flags"]

_LIBRARY_NAMES = {
    "classifications": "classification",
    "labels": "label",
    "min_held_out": "require",
    "pairs": "sts",
    "retrievals": "retrieval",
    "revision": "teacher_revision",
}
"""Parameters of the library whose options have other names."""

_EXTRAS = {
    "distill": (
        "httpx",  # of huggingface_hub
        "huggingface_hub",
        "jinja2",
        "scipy",
        "sentence_transformers",
        "skeletoken",
        "sklearn",
        "threadpoolctl",
        "torch",
        "transformers",
    ),
    "beam": ("apache_beam",),
    "gcp": ("google.api_core", "google.auth", "google.cloud"),
    "kafka": ("confluent_kafka", "prometheus_client"),
    "kafka-schemas": ("fastavro", "google.protobuf", "google.type", "grpc_tools"),
    "iceberg": ("pyiceberg",),
    "delta": ("deltalake",),
    "otel": ("opentelemetry",),
    "pkcs11": ("pkcs11",),
    "signing": ("cryptography",),
}
"""The packages of each extra that commands import."""

_LAST_GROUPS = (TEXT_FILES, SIGNATURES, OPERATIONS)
"""What few readers of a command's help look for comes last, in every command."""


class Command(TyperCommand):
    """A command whose options have groups, environment variables by their flags, and perhaps old names.

    Attributes:
        old_flags: flags that were renamed, and what they are now: both work, and help shows the new one.
    """

    old_flags: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = _unwrapped(self.help)
        for parameter in self.params:
            _tidy(parameter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace old flags by new ones; what stands behind `--` is for others."""
        own = args.index("--") if "--" in args else len(args)
        try:
            return super().parse_args(ctx, [*map(self._renamed, args[:own]), *args[own:]])
        except Exception as error:
            if hasattr(error, "message"):
                error.message = error.message.removeprefix("Value error, ")  # a word of Typer's
            unlike_ours = getattr(error, "possibilities", True) in (None, [])
            if unlike_ours and any(str(one.metavar).startswith("-- ") for one in self.params):
                vars(error)["message"] = f"{error}: write Beam's options after --"
            raise

    def get_params(self, ctx: Any) -> Any:
        """Name variables by flags: `--rows-per-file` is `MILLSTREAM_BACKFILL_ROWS_PER_FILE`."""
        found = sorted(super().get_params(ctx), key=_place)
        for option in found if ctx.auto_envvar_prefix else ():
            if not isinstance(option, TyperOption) or not option.allow_from_autoenv:
                continue
            if option.envvar is None and option.expose_value:
                option.envvar = f"{ctx.auto_envvar_prefix}_{_name(option)}"
        return found

    def get_help_option(self, ctx: Any) -> Any:
        """Show `--help` among the operations."""
        return _in_group(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Say once, below the options, how the environment sets them."""
        named = {_variable(option): option.opts[0] for option in self.get_params(ctx) if option.envvar}
        by_rule = [variable for variable in named if variable.startswith(f"{ctx.auto_envvar_prefix}_")]
        if named:
            shown = [*by_rule[:1], *(variable for variable in named if variable not in by_rule)]
            examples = ", ".join(f"{variable} is {named[variable]}" for variable in shown)
            self.epilog = f"Environment variables set options too: {examples}."
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Show flags in errors of the library, which name parameters in backticks; name a missing extra."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        except MillstreamError as error:
            error.args = (re.sub(r"`(\w+)`", self._flag, str(error)),)
            raise

    def _flag(self, parameter: re.Match[str]) -> str:
        name = _LIBRARY_NAMES.get(parameter[1], parameter[1])
        found = next((each for each in self.params if each.name == name), None)
        if found is None:
            return name
        return found.opts[0] if isinstance(found, TyperOption) else str(found.metavar or name.upper())

    def _renamed(self, word: str) -> str:
        flag, equals, value = word.partition("=")
        return f"{self.old_flags.get(flag, flag)}{equals}{value}"


def _missing(error: ModuleNotFoundError) -> Exception:
    """The error that names the extra of a missing package, or the same error if no extra has it."""
    name = error.name or ""
    for extra, packages in _EXTRAS.items():
        for package in packages:
            if f"{name}.".startswith(f"{package}."):
                return MissingExtra(package, extra)
    return error


class Group(TyperGroup):
    """A group of commands whose own options have groups in its help too."""

    def get_params(self, ctx: Any) -> Any:
        """Show what Typer adds among the operations."""
        return [_in_group(parameter) for parameter in super().get_params(ctx)]


def with_old_flags(old_flags: Mapping[str, str]) -> type[Command]:
    """The class of a command some of whose flags were renamed.

    Args:
        old_flags: each old flag and the new one, as `{"--format": "--input-format"}`.
    """
    return type("Command", (Command,), {"old_flags": dict(old_flags)})


def by_flag(command: Any) -> dict[str, Any]:
    """The options of a command by their flags, old ones included."""
    found = {flag: option for option in command.params for flag in option.opts if flag.startswith("--")}
    old = getattr(command, "old_flags", {})
    return found | {flag: found[new] for flag, new in old.items()}


def _place(parameter: Any) -> int:
    """Where help shows a parameter's group: 0 for one whose place is that of its first option."""
    group = getattr(parameter, "rich_help_panel", None)
    return _LAST_GROUPS.index(group) + 1 if group in _LAST_GROUPS else 0


def _tidy(parameter: Any) -> None:
    """Leave out of a row of help what the epilogue and the flag itself say."""
    parameter.show_envvar = False
    if isinstance(parameter, TyperOption) and parameter.is_flag:
        parameter.metavar = ""
    if isinstance(parameter, TyperArgument):
        vars(parameter)["display_type_rich"] = lambda **_: None  # its name and its help say what it is


def _in_group(parameter: Any) -> Any:
    """An option that Typer adds, which has no group of its own."""
    if isinstance(parameter, TyperOption):
        parameter.rich_help_panel = parameter.rich_help_panel or OPERATIONS
        _tidy(parameter)
    return parameter


def _variable(parameter: Any) -> str:
    """The environment variable of an option; the first one, if old names work too."""
    variables = parameter.envvar
    return variables if isinstance(variables, str) else str(variables[0])


def _name(option: TyperOption) -> str:
    return option.opts[0].lstrip("-").replace("-", "_").upper()


def _unwrapped(text: str | None) -> str | None:
    """A docstring's paragraphs without its line breaks, for a terminal of any width."""
    return text and "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
