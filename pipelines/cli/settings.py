"""Command-line options from an annotated dataclass, so that every setting is written once."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

__all__ = ["options_of"]


def options_of(settings: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of a dataclass.

    The command's first parameter receives the dataclass; its other parameters stay its own options.

    Args:
        settings: the dataclass. Its fields are annotated with `typer.Option`.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if defaults[name] is dataclasses.MISSING else defaults[name],
            annotation=hint,
        )
        for name, hint in get_type_hints(settings, include_extras=True).items()
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
