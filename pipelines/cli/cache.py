"""How much a command may keep in this machine's cache: `--cache-size`."""

from typing import Annotated

from encoder.user_cache import SIZE_VARIABLE
from encoder.user_cache import cache_size as check_size
from pipelines.cli.options import operations_option
from pipelines.cli.variables import with_variables

__all__ = ["caching"]

_CacheSize = Annotated[
    str | None,
    operations_option(
        "--cache-size",
        envvar=SIZE_VARIABLE,
        metavar="SIZE",
        help="Maximum size of the model versions in a machine's cache, such as 500MB.",
        show_default="2GB",
    ),
]


def _variables(cache_size: str | None) -> dict[str, str]:
    """The variable that every fetch of a version follows.

    Raises:
        ConfigurationError: the size cannot be read.
    """
    if cache_size is None:
        return {}
    check_size(cache_size)
    return {SIZE_VARIABLE: cache_size}


caching = with_variables({"cache_size": _CacheSize}, _variables)
"""Give a command the option that bounds the cache, in every fetch of a version."""
