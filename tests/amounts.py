"""How much the tests do: little of every kind in CI, the full counts in `make soak`.

`MILLSTREAM_SOAK=1` chooses the full counts. What runs in a soak alone has the marker `soak`.
"""

import os
from typing import TypeVar

__all__ = ["SOAK", "amount"]

SOAK = os.environ.get("MILLSTREAM_SOAK") == "1"
T = TypeVar("T")


def amount(ci: T, soak: T) -> T:
    """The count for this run."""
    return soak if SOAK else ci
