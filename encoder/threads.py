"""The threads that all encoders of a process share.

The calling thread works as well, so a call makes progress even when all others are busy, and a process never
runs more threads than it has callers and cores.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import TypeVar

from encoder.errors import ConfigurationError

__all__ = ["VARIABLE", "default_threads", "share_out"]

VARIABLE = "MILLSTREAM_THREADS"
"""The environment variable that limits the threads of a process."""

_Item = TypeVar("_Item")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds per period, and the period: "200000 100000"


def default_threads(quota: Path = _QUOTA) -> int:
    """`MILLSTREAM_THREADS`, or else the number of cores that the process may use.

    That is the number in its CPU affinity, capped by the container's CPU quota (cgroup v2).

    Raises:
        ConfigurationError: the variable is not a positive number.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        if not (named.isdecimal() and int(named)):
            raise ConfigurationError(f"{VARIABLE} is {named!r}: it must be a number of threads, 1 or more")
        return int(named)
    cores = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):  # no container, or an older system
        return cores
    return cores if limit == "max" else max(1, min(cores, math.ceil(int(limit) / int(period))))


def share_out(work: Callable[[_Item], object], items: Sequence[_Item], threads: int) -> None:
    """Call `work` for each item, in this thread and at most `threads - 1` others.

    If an item fails, no further items start; the error is raised once the running ones end.
    """
    if threads == 1 or len(items) == 1:
        for item in items:
            work(item)
        return
    left = deque(items)

    def run() -> None:
        while True:
            try:
                item = left.popleft()
            except IndexError:
                return
            work(item)

    helpers = [_pool().submit(run) for _ in range(min(threads, len(items)) - 1)]
    try:
        run()
    finally:
        left.clear()
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, default_threads() - 1), "millstream")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has no threads
