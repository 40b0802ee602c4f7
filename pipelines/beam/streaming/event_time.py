"""When records happened, read from one of their fields; and how far event time has come in a source.

The watermark is what a reader promises about the records still to come.
"""

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
"""In place of a time that cannot be read."""

OPEN = -(1 << 61)
"""Microseconds: before all times. Nothing is promised yet."""

_LOOKS = 4  # without a record, at least, before a source counts as silent
_MICROS = pa.timestamp("us", "UTC")
_LIMIT = 2.0**62
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (np.inf, 1e-3))
"""A number below the first is in a unit of so many microseconds: seconds, milli-, micro-, nanoseconds."""


def event_times(values: pa.Array) -> NDArray[np.int64]:
    """Microseconds since the epoch.

    Args:
        values: `(n,)` timestamps or dates (without a zone: UTC), ISO 8601 texts, or numbers since the epoch,
            whose unit is told by their size: below 1e11 they are seconds, below 1e14 milliseconds, below
            1e17 microseconds, else nanoseconds.

    Returns:
        `(n,)` int64; `NO_TIME` where a value is null or cannot be read.

    Raises:
        InputError: values of this type are no times.
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
    raise InputError(f"{kind} is no event time: name a field of timestamps, ISO 8601 texts or numbers")


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
    """When a reader promises what.

    Attributes:
        disorder: microseconds by which a record may be older than one before it.
        idle: microseconds without a record after which a reader goes by the clock, so that a source that is
            silent holds up no window.
    """

    disorder: int
    idle: int


class Watermark:
    """Follows the times of records, `disorder` behind the latest; never goes back.

    Args:
        policy: how.
        micros: where it was, microseconds since the epoch.
        now: the clock, seconds since the epoch.
    """

    def __init__(
        self, policy: WatermarkPolicy, micros: int = OPEN, now: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self.micros = micros
        self._now = now
        self._looked = now()
        self._silence = 0.0  # seconds

    def see(self, latest: int) -> None:
        """Records came; the latest happened at this time, in microseconds since the epoch."""
        self._looked, self._silence = self._now(), 0.0
        if latest > OPEN:  # else none of them has a time
            self.micros = max(self.micros, latest - self._policy.disorder)

    def wait(self) -> None:
        """No record came.

        A process that stood still has not looked, and records may wait for it: one look ends but a part of
        the time that makes a source idle.
        """
        looked, self._looked = self._looked, self._now()
        idle = self._policy.idle / 1e6
        self._silence += min(max(self._looked - looked, 0.0), idle / _LOOKS)  # a clock may be set back
        if self._silence > idle:
            behind = self._policy.idle + self._policy.disorder
            self.micros = max(self.micros, round(self._looked * 1e6) - behind)
