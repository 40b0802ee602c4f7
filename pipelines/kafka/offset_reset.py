"""What librdkafka's `auto.offset.reset` says about a position that the log of a partition does not have."""

from collections.abc import Mapping
from typing import Literal

from encoder.errors import ConfigurationError

__all__ = ["OffsetReset", "is_lost", "offset_reset"]

OffsetReset = Literal["earliest", "latest", "error"]


def offset_reset(properties: Mapping[str, str]) -> OffsetReset:
    """Where to go on, by a consumer's properties; librdkafka has several names for each place."""
    text = properties.get("auto.offset.reset", "earliest")
    if text == "error":
        return "error"
    return "latest" if text in ("latest", "largest", "end") else "earliest"


def is_lost(name: object, at: int, low: int, high: int, reset: OffsetReset) -> bool:
    """Whether a log lacks a position.

    Args:
        name: of the partition, for the message.
        at: the offset to read next.
        low: the log's first offset.
        high: the offset behind its last one.
        reset: what to do then.

    Raises:
        ConfigurationError: it does, and `reset` is `error`.
    """
    if low <= at <= high:
        return False
    if reset == "error":
        raise ConfigurationError(
            f"{name} holds offsets {low} to {high - 1}, and {at} is to be read next: set the property "
            "auto.offset.reset to earliest or latest to go on"
        )
    return True
