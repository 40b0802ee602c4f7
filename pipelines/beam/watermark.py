"""How far event time has come in a source: what a reader promises about the records still to come."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["OPEN", "Promise", "Watermark"]

OPEN = -(1 << 61)
"""Microseconds: before all times. Nothing is promised yet."""


@dataclass(frozen=True)
class Promise:
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
        promise: how.
        micros: where it was, microseconds since the epoch.
        now: the clock, seconds since the epoch.
    """

    def __init__(self, promise: Promise, micros: int = OPEN, now: Callable[[], float] = time.time) -> None:
        self._promise = promise
        self.micros = micros
        self._now = now
        self._last = now()

    def see(self, latest: int) -> None:
        """Records came; the latest happened at this time, in microseconds since the epoch."""
        self._last = self._now()
        if latest > OPEN:  # else none of them has a time
            self.micros = max(self.micros, latest - self._promise.disorder)

    def wait(self) -> None:
        """No record came."""
        if self._now() - self._last > self._promise.idle / 1e6:
            self.micros = max(
                self.micros, round(self._now() * 1e6) - self._promise.idle - self._promise.disorder
            )
