"""Options that become environment variables while a command runs.

They hold for everything that the command does, in this process and in those that it starts, so that no part
of it can forget them.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["with_variables"]


def with_variables(
    options: Mapping[str, Any], variables: Callable[..., Mapping[str, str]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command more options, which become environment variables while it runs.

    Args:
        options: the annotation of each option, by its parameter's name; the default is None.
        variables: makes the variables of the options' values, which it gets by name.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*arguments: Any, **values: Any) -> Any:
            with _set(variables(**{name: values.pop(name) for name in options})):
                return command(*arguments, **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        new = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
        both = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *new)]
        vars(run)["__signature__"] = inspect.Signature(both)
        run.__annotations__ = {one.name: one.annotation for one in both}
        return run

    return decorate


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
