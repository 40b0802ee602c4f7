"""Durations as people write them."""

import re

from encoder.errors import ConfigurationError

__all__ = ["seconds"]

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str, flag: str) -> float:
    """Parse a duration; a number alone is seconds.

    Raises:
        ConfigurationError: the text is not a duration; the message names the flag.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{flag} {text!r} is not a duration: write 30s, 5m, 1h or 2d")
    return float(match[1]) * _UNITS[match[2]]
