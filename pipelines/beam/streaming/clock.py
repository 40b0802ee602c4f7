"""The time now, on machines whose clock may be set forward or back while a stream runs."""

import time
from collections.abc import Callable
from functools import cache

__all__ = ["Clock", "machine_clock"]


def _uptime() -> float:
    """Seconds that pass steadily, also while the machine sleeps where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """Two answers to what time it is, which differ once the wall clock has been set.

    Nobody can tell which of the two is right, so whoever asks takes the one that harms less.

    Args:
        wall: seconds since the epoch.
        uptime: seconds that pass steadily.
    """

    def __init__(self, wall: Callable[[], float] = time.time, uptime: Callable[[], float] = _uptime) -> None:
        self._wall = wall
        self._uptime = uptime
        self._began = wall() - uptime()

    def earliest(self) -> float:
        """Seconds since the epoch, by the wall clock or by what has passed since the start: the lesser."""
        return min(self._wall(), self._began + self._uptime())

    def latest(self) -> float:
        """Seconds since the epoch, in the same two ways: the greater."""
        return max(self._wall(), self._began + self._uptime())


@cache
def machine_clock() -> Clock:
    """The clock of this machine, since this process first asked for it."""
    return Clock()
