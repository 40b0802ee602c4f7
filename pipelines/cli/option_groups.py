"""Command-line options from annotated dataclasses, so that commands share whole groups of options."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import wraps
from typing import Any

__all__ = ["expand_options"]


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of the dataclasses among its parameters.

    The command receives the dataclasses. They may hold others, and their fields are annotated with
    `typer.Option`. A field without a default is a required option.
    """

    @wraps(command)
    def run(**values: Any) -> None:
        _call(command, values)

    options = sorted(_options(command), key=lambda option: option.default is not inspect.Parameter.empty)
    vars(run)["__signature__"] = inspect.Signature(options)
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    for parameter in _parameters(function):
        if _is_group(parameter.annotation):
            yield from _options(parameter.annotation)
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _call(function: Callable[..., Any], values: dict[str, Any]) -> Any:
    """Call a function or make a dataclass; its own dataclasses are made of the values first."""
    return function(
        **{
            one.name: _call(one.annotation, values) if _is_group(one.annotation) else values[one.name]
            for one in _parameters(function)
        }
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and is_dataclass(annotation)
