"""What may become JSON: it has no NaN and no infinity."""

import json
from typing import Any

from msgspec import to_builtins

from encoder.errors import MillstreamError

__all__ = ["check_json"]


def check_json(value: Any, what: str, error: type[MillstreamError]) -> None:
    """Check a value that others give, before it is written.

    Args:
        value: the value.
        what: what the error calls it.
        error: the error to raise.

    Raises:
        MillstreamError: it is not JSON; of the type `error`.
    """
    try:
        json.dumps(to_builtins(value), allow_nan=False)
    except (TypeError, ValueError, OverflowError) as problem:
        raise error(f"{what} must be JSON: {problem}") from problem
