"""What messages have beside their values: timestamps, which a topic may refuse, keys, and headers.

A delete is a message with a key and a null value, as compacted topics and change data capture have them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from encoder.errors import InputError
from pipelines.kafka.headers import all_headers, read_headers
from pipelines.records.bad_rows import Envelope, Headers

if TYPE_CHECKING:
    from confluent_kafka import Message

__all__ = [
    "ANY_TIME",
    "KAFKA_LIMITS",
    "NOW",
    "NO_TIMESTAMP",
    "TIMESTAMP",
    "TimeLimits",
    "byte_parts",
    "deletes_among",
    "envelope_of",
    "headers_of",
    "readable_headers",
]

TIMESTAMP = "millstream_timestamp"
"""The header with the timestamp of a record whose topic does not accept it, milliseconds since the epoch."""

NO_TIMESTAMP = -1
"""Kafka's number for a message without a timestamp."""

NOW = 0
"""Makes librdkafka send a message with the time of sending."""

_LONGEST = 2**63 - 1
_SKEW = 60_000  # the brokers' clocks may be this far behind ours
_UNDER_WAY = 600_000  # a message may wait this long before a broker compares it with its clock
_BOTH, _BEFORE, _AFTER = (f"message.timestamp.{name}.max.ms" for name in ("difference", "before", "after"))


class TimeLimits(NamedTuple):
    """How far the timestamp of a message may be from the broker's clock.

    Attributes:
        before: milliseconds that it may be earlier.
        after: milliseconds that it may be later; an hour is Kafka's default since version 4.
        kept: milliseconds after which the topic deletes a message.
    """

    before: int = _LONGEST
    after: int = 3_600_000
    kept: int = _LONGEST

    @classmethod
    def of_topic(cls, config: Mapping[str, str]) -> "TimeLimits":
        """The limits in the configuration of a topic."""
        if config.get("message.timestamp.type") == "LogAppendTime":  # the broker sets its own time
            return ANY_TIME
        both = config.get(_BOTH, _LONGEST)
        before, after = (min(int(config.get(key, _LONGEST)), int(both)) for key in (_BEFORE, _AFTER))
        kept = (
            int(config.get("retention.ms", -1)) if "delete" in config.get("cleanup.policy", "delete") else -1
        )
        return cls(before, after, kept if kept >= 0 else _LONGEST)

    def around(self, now: int) -> tuple[int, int]:
        """The first and the last timestamp that the topic certainly accepts at a time."""
        earlier = self.before - min(_UNDER_WAY, self.before // 2)
        later = self.after - min(_SKEW, self.after // 2)
        return max(now - earlier, -_LONGEST), min(now + later, _LONGEST)

    def accepted(self, times: Sequence[int], now: int) -> list[int]:
        """The timestamps of messages to send: `NOW` in place of those that are missing or not accepted."""
        first, last = self.around(now)
        return [time if first <= time <= last and time != NO_TIMESTAMP else NOW for time in times]

    def accepts(self, earliest: int, latest: int, now: int) -> bool:
        """Whether the topic accepts all timestamps between two; false if one is missing or before 1970."""
        first, last = self.around(now)
        return earliest >= max(first, 1) and latest <= last


KAFKA_LIMITS = TimeLimits()
"""Kafka's own limits."""

ANY_TIME = TimeLimits(_LONGEST, _LONGEST)
"""The limits of a topic that accepts every timestamp."""


def byte_parts(lengths: Sequence[int], n_bytes: int) -> list[tuple[int, int]]:
    """Divide messages so that each part has at most so many bytes, or is one message.

    Args:
        lengths: the bytes of each message.
        n_bytes: of a part.

    Returns:
        The first message of each part, and the one after its last.
    """
    sizes = np.array(lengths, np.int64)
    ends = np.cumsum(sizes)
    edges, first = [0], 0
    while first < len(sizes):
        before = ends[first] - sizes[first]
        first = max(first + 1, int(np.searchsorted(ends, before + n_bytes, "right")))
        edges.append(first)
    return list(pairwise(edges))


def deletes_among(messages: Sequence["Message"]) -> list[int]:
    """The positions of the deletes among messages."""
    if all(map(len, messages)):  # of their values; null has none
        return []
    return [
        row for row, message in enumerate(messages) if message.value() is None and message.key() is not None
    ]


def headers_of(messages: Sequence["Message"]) -> tuple[tuple[Headers, ...] | None, dict[int, str]]:
    """The headers of messages, and why some of them cannot be read.

    Returns:
        The headers of each message, or None if no message has any; and the reasons by position.
    """
    unreadable: dict[int, str] = {}
    try:
        found = all_headers(messages)
    except InputError:
        found = []
        for row, message in enumerate(messages):
            headers, reason = readable_headers(message)
            found.append(headers)
            if reason:
                unreadable[row] = reason
    return (tuple(tuple(one or ()) for one in found) if any(found) else None), unreadable


def readable_headers(message: "Message") -> tuple[list[tuple[str, bytes | None]], str | None]:
    """The headers of a message; none, and why, if they cannot be read."""
    try:
        return read_headers(message), None
    except InputError as error:
        return [], str(error)


def envelope_of(message: "Message") -> Envelope:
    """What a message has beside its value; without headers that cannot be read."""
    time = message.timestamp()[1]
    headers, _ = readable_headers(message)
    return Envelope(message.key(), tuple(headers), None if time == NO_TIMESTAMP else time)
