"""Ends a process that is stuck: some of librdkafka's calls may never return, whatever their time-out.

`send_offsets_to_transaction` is one of them, when the group's coordinator goes away at the wrong moment
(confluentinc/librdkafka#5456, #5511). To end is as safe as to be killed: what was not committed is void, and
another process goes on.
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
    """Watch from a thread of its own.

    Args:
        last_turn: when the worker's loop was last alive, seconds of the monotonic clock.
        stopping: set when the worker was told to stop; from then on it has 9 s.
        stuck_seconds: how long the loop may be silent.
        end: ends the process with an exit code.
        every: seconds between two looks.
        stop_seconds: how long stopping may take.

    Returns:
        To be set when the worker has ended by itself.
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
                    "a call does not return for %.0f s: this process ends, start it again", stuck_seconds
                )
            elif stopped_at is not None and now - stopped_at > stop_seconds:
                _log.error("stopping takes too long: what is not committed will be done again")
            else:
                continue
            end(1)
            return

    threading.Thread(target=loop, name="watchdog", daemon=True).start()
    return over
