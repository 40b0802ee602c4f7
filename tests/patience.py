"""How tests wait: for an event, with one patience for all of them.

    table = wait_for(lambda: read_rows(output), "100 rows", lambda rows: len(rows) == 100, process=job)

`MILLSTREAM_TEST_PATIENCE` is the number of seconds after which any wait gives up. The default is what a
machine needs that is many times slower than a laptop, since only a test that fails waits that long.
"""

import os
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "wait_for"]

PATIENCE = float(os.environ.get("MILLSTREAM_TEST_PATIENCE", "300"))
_MOST_SHOWN = 2000  # characters of what was seen last
T = TypeVar("T")


def wait_for(
    look: Callable[[], T],
    what: str,
    wanted: Callable[[T], object] = bool,
    *,
    process: subprocess.Popen | None = None,
    pause: float = 0.05,
) -> T:
    """Call `look` until it returns what is wanted.

    Args:
        look: gives the state of things; called again and again.
        what: the event, for the message of a wait that gives up.
        wanted: tells whether a state is the one that is waited for.
        process: has to run until then.
        pause: seconds between two looks.

    Returns:
        What `look` returned last.

    Raises:
        AssertionError: the event did not happen, or the process ended before it.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        code = process.poll() if process is not None else None
        over = time.monotonic() > deadline
        seen = look()  # after the two questions: the event may happen while they are asked
        if wanted(seen):
            return seen
        shown = repr(seen)[-_MOST_SHOWN:]
        if code is not None:
            said = _output(process)
            raise AssertionError(f"ended with {code} before {what}; seen last: {shown}{said}")
        if over:
            raise AssertionError(f"waited {PATIENCE:g} s for {what}; seen last: {shown}")
        time.sleep(pause)


def _output(process: subprocess.Popen) -> str:
    if process.stdout is None and process.stderr is None:
        return ""
    texts = (text for text in process.communicate() if text)
    return "".join(f"\n{text[-3 * _MOST_SHOWN :]}" for text in texts)
