"""What the libraries of the dataframes have in common: they are optional."""

from collections.abc import Iterator
from contextlib import contextmanager

from encoder.errors import MissingExtra

__all__ = ["extra"]


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import a library that the extra `name` of Millstream installs.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or name, name) from error
