"""How far event time has come in a source: what a reader promises about the records still to come."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["OPEN", "Promise", "Watermark"]

OPEN = -(1 << 61)
"""Microseconds: before all times. Nothing is promised yet."""

_LOOKS = 4  # without a record, at least, before a source counts as silent


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
        self._looked = now()
        self._silence = 0.0  # seconds

    def see(self, latest: int) -> None:
        """Records came; the latest happened at this time, in microseconds since the epoch."""
        self._looked, self._silence = self._now(), 0.0
        if latest > OPEN:  # else none of them has a time
            self.micros = max(self.micros, latest - self._promise.disorder)

    def wait(self) -> None:
        """No record came.

        A process that stood still has not looked, and records may wait for it: one look ends but a part of
        the time that makes a source idle.
        """
        looked, self._looked = self._looked, self._now()
        idle = self._promise.idle / 1e6
        self._silence += min(max(self._looked - looked, 0.0), idle / _LOOKS)  # a clock may be set back
        if self._silence > idle:
            behind = self._promise.idle + self._promise.disorder
            self.micros = max(self.micros, round(self._looked * 1e6) - behind)
