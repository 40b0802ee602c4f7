"""Ends a stuck process: some of librdkafka's calls may never return, whatever their time-out.

One is `send_offsets_to_transaction`, if the group's coordinator goes away at the wrong moment
(confluentinc/librdkafka#5456, #5511). Ending is as safe as a kill: what was not committed is void, and
another process continues.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

__all__ = ["watch"]

_log = logging.getLogger(__name__)
_STOP_SECONDS = 9.0
_EVERY = 0.25


def watch(
    last_turn: Callable[[], float],
    stopping: threading.Event,
    stuck_seconds: float,
    *,
    end: Callable[[int], None] = os._exit,
    every: float = _EVERY,
    stop_seconds: float = _STOP_SECONDS,
) -> threading.Event:
    """Watch the loop from a thread of its own.

    Args:
        last_turn: when the worker's loop last ran, in seconds of the monotonic clock.
        stopping: set when the worker was told to stop.
        stuck_seconds: how long the loop may not run.
        end: ends the process with an exit code.
        every: seconds between two checks.
        stop_seconds: how long stopping may take.

    Returns:
        An event to set when the worker has ended by itself.
    """
    over = threading.Event()

    def loop() -> None:
        stopped_at = None
        while not over.wait(every):
            now = time.monotonic()
            if stopped_at is None and stopping.is_set():
                stopped_at = now
            if now - last_turn() > stuck_seconds:
                _log.error(
                    "a call has not returned for %.0f s: ending this process; restart it", stuck_seconds
                )
            elif stopped_at is not None and now - stopped_at > stop_seconds:
                _log.error("stopping took too long: ending now; records since the last commit are read again")
            else:
                continue
            end(1)
            return

    threading.Thread(target=loop, name="watchdog", daemon=True).start()
    return over
