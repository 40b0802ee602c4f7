"""Threads that all encoders of a process share, and how many there may be.

The thread that calls works as well, so a call ends even when all others are busy, and a process never has
more threads at work than callers and cores together.
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
"""The environment variable that says how many threads a process may use."""

_Item = TypeVar("_Item")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds a period, and the period: "200000 100000"


def default_threads(quota: Path = _QUOTA) -> int:
    """How many threads to use: `MILLSTREAM_THREADS`, or else the cores that the process may use.

    Cores are those of its CPU affinity, and no more than the container's quota (version 2 of control groups).

    Raises:
        ConfigurationError: the variable is no positive number.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        if not (named.isdecimal() and int(named)):
            raise ConfigurationError(f"{VARIABLE} is {named!r}: it must be a number of threads, 1 or more")
        return int(named)
    cores = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):  # not in a container, or an older system
        return cores
    return cores if limit == "max" else max(1, min(cores, math.ceil(int(limit) / int(period))))


def share_out(work: Callable[[_Item], object], items: Sequence[_Item], threads: int) -> None:
    """Do `work` once for each item, in this thread and in at most `threads - 1` others.

    An item that fails stops those that have not begun; its error is raised when the others have ended.
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


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay with the parent
