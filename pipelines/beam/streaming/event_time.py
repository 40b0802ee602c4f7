"""Event time: when records happened, and how far event time has advanced in a source (the watermark)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from encoder.errors import InputError

__all__ = ["NO_TIME", "OPEN", "Watermark", "WatermarkPolicy", "event_times"]

NO_TIME = np.iinfo(np.int64).min
"""Stands for an event time that is missing or cannot be parsed."""

OPEN = -(1 << 61)
"""Microseconds: the watermark before the first record, earlier than any event time."""

_POLLS = 4  # without a record, at least, before a source counts as idle
_MICROS = pa.timestamp("us", "UTC")
_LIMIT = 2.0**62
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (np.inf, 1e-3))
"""Numbers below the first are in a unit of so many microseconds: seconds, milli-, micro-, nanoseconds."""


def event_times(values: pa.Array) -> NDArray[np.int64]:
    """Convert a column to microseconds since the epoch.

    Args:
        values: `(n,)` timestamps or dates (UTC if they have no zone), ISO 8601 strings, or numbers since the
            epoch. The size of a number tells its unit: seconds below 1e11, milliseconds below 1e14,
            microseconds below 1e17, else nanoseconds.

    Returns:
        `(n,)` int64; `NO_TIME` where a value is null or cannot be parsed.

    Raises:
        InputError: the column has another type.
    """
    kind = values.type
    if pt.is_dictionary(kind):
        return event_times(values.dictionary_decode())
    if pt.is_integer(kind) or pt.is_floating(kind):
        return _of_numbers(values)
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_null(kind):
        return _of_texts(values)
    if pt.is_timestamp(kind):
        return _of_timestamps(values.cast(pa.timestamp("us", kind.tz), safe=False))
    if pt.is_date(kind):
        return _of_timestamps(values.cast(pa.timestamp("us")))
    raise InputError(f"event times cannot be {kind}: name a field of timestamps, ISO 8601 strings or numbers")


def _of_timestamps(values: pa.Array) -> NDArray[np.int64]:
    times: NDArray[np.int64] = values.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    return times


def _of_numbers(values: pa.Array) -> NDArray[np.int64]:
    numbers: NDArray[Any] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    scale = np.select([np.abs(numbers) < limit for limit, _ in _UNITS], [unit for _, unit in _UNITS], np.nan)
    micros = np.round(numbers * scale)
    readable = np.isfinite(micros) & (np.abs(micros) < _LIMIT)
    return np.where(readable, np.where(readable, micros, 0).astype(np.int64), NO_TIME)


def _of_texts(values: pa.Array) -> NDArray[np.int64]:
    for kind in (_MICROS, pa.timestamp("us")):  # with a zone, without one
        try:
            return _of_timestamps(values.cast(kind))
        except pa.ArrowInvalid:
            continue
    return np.array([_of_text(text) for text in values.to_pylist()], np.int64)


def _of_text(text: str | None) -> int:
    try:
        time = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return int(NO_TIME)
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1e6)


@dataclass(frozen=True)
class WatermarkPolicy:
    """How a reader sets its watermark.

    Attributes:
        out_of_orderness: microseconds by which a record may be older than one before it.
        idle: microseconds without a record after which the watermark follows the clock, so that an idle
            source does not hold windows open.
    """

    out_of_orderness: int
    idle: int


class Watermark:
    """Stays `out_of_orderness` behind the latest event time, and never goes back.

    Args:
        policy: how to set it.
        micros: where it starts, microseconds since the epoch.
        now: the clock, seconds since the epoch.
    """

    def __init__(
        self, policy: WatermarkPolicy, micros: int = OPEN, now: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self.micros = micros
        self._now = now
        self._polled = now()
        self._silence = 0.0  # seconds

    def observe(self, latest: int) -> None:
        """Records arrived; `latest` is their latest event time, in microseconds since the epoch."""
        self._polled, self._silence = self._now(), 0.0
        if latest > OPEN:  # else none of them has an event time
            self.micros = max(self.micros, latest - self._policy.out_of_orderness)

    def observe_nothing(self) -> None:
        """The source was polled and had no record.

        A process that was suspended has not polled, and records may be waiting. So one poll counts for at
        most a part of the time that makes a source idle.
        """
        polled, self._polled = self._polled, self._now()
        idle = self._policy.idle / 1e6
        self._silence += min(max(self._polled - polled, 0.0), idle / _POLLS)  # a clock may be set back
        if self._silence > idle:
            behind = self._policy.idle + self._policy.out_of_orderness
            self.micros = max(self.micros, round(self._polled * 1e6) - behind)
