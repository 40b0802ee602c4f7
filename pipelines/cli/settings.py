"""Command-line options from an annotated dataclass, so that every setting is written once."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

from typer.models import OptionInfo

__all__ = ["options_of"]


def options_of(settings: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of a dataclass that is annotated with a `typer.Option`.

    The command's first parameter receives the dataclass; its other parameters stay its own options.

    Args:
        settings: the dataclass.
    """
    fields = {field.name: field for field in dataclasses.fields(settings)}
    options = [
        _option(fields[name], *get_args(hint))
        for name, hint in get_type_hints(settings, include_extras=True).items()
        if any(isinstance(part, OptionInfo) for part in get_args(hint))
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            told = {option.name: values.pop(option.name) for option in options}
            command(settings(**told), **values)

        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        both = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*options, *own)]
        vars(run)["__signature__"] = inspect.Signature(both)
        return run

    return decorate


def _option(field: dataclasses.Field[Any], kind: Any, option: OptionInfo) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    annotation = Annotated[kind, option]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
