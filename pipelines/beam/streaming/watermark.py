"""The watermark: how far event time has advanced in a source. A window closes when it passes its end."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.beam.streaming.clock import Clock, machine_clock
from pipelines.records.event_time import LATEST

__all__ = ["OPEN", "Watermark", "WatermarkPolicy"]

OPEN = -(1 << 61)
"""Microseconds: the watermark before the first record, earlier than any event time."""

_POLLS = 4  # without a record, at least, before a source counts as idle


@dataclass(frozen=True)
class WatermarkPolicy:
    """How a reader sets its watermark.

    Attributes:
        out_of_orderness: microseconds by which a record may be older than one before it.
        idle: microseconds without a record after which the watermark follows the clock, so that an idle
            source does not hold windows open.
        max_ahead: microseconds by which an event time may be ahead of the clock. A record from further ahead
            is a bad row: it would close the windows of all others.
        clock: gives the clock of the process.
    """

    out_of_orderness: int
    idle: int
    max_ahead: int = 300 * 10**6
    clock: Callable[[], Clock] = machine_clock

    def latest(self) -> int:
        """The latest event time that is taken now, microseconds since the epoch."""
        return min(round(self.clock().latest() * 1e6) + self.max_ahead, LATEST)


class Watermark:
    """Stays `out_of_orderness` behind the latest event time, and never goes back.

    Args:
        policy: how to set it.
        micros: where it starts, microseconds since the epoch.
    """

    def __init__(self, policy: WatermarkPolicy, micros: int = OPEN) -> None:
        self._policy = policy
        self.micros = micros
        self._now = policy.clock().earliest  # a clock that is set forward by mistake closes no windows
        self._polled = self._now()
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
