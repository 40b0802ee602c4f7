"""Progress and messages on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["ErrorConsole"]

_EVERY = 5.0  # seconds between two progress lines where there is no terminal


class ErrorConsole(Console):
    """The console on standard error; where it is no terminal, progress is a line now and then.

    It keeps writing there while `sys.stderr` is redirected.
    """

    def __init__(self) -> None:
        super().__init__(file=sys.stderr, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, unit: str, total: float) -> Iterator[Callable[[float, int], None]]:
        """Show progress.

        Args:
            unit: what is counted.
            total: the amount of work, in any unit.

        Yields:
            A function to call with the work done so far (in total's unit) and the number of units done; the
            first call says what was done before.
        """
        rate = _Rate(unit)
        if not self.is_terminal:
            yield self._lines(total, rate)
            return
        columns = (
            SpinnerColumn(),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self, transient=True) as bar:
            task = bar.add_task(unit, total=total, rate="starting")

            def tell(done: float, count: int) -> None:
                bar.update(task, completed=done, rate=rate(count))

            yield tell

    def _lines(self, total: float, rate: "_Rate") -> Callable[[float, int], None]:
        last = time.monotonic()

        def tell(done: float, count: int) -> None:
            nonlocal last
            text = rate(count)
            if time.monotonic() - last >= _EVERY:
                last = time.monotonic()
                self.print(f"{100 * done / max(total, 1):3.0f} %  {text}")

        return tell


class _Rate:
    """Counts since the first call, per second."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._begin = time.monotonic()
        self._earlier: int | None = None

    def __call__(self, count: int) -> str:
        if self._earlier is None:
            self._earlier = count
        speed = (count - self._earlier) / max(time.monotonic() - self._begin, 1e-9)
        return f"{count:,} {self._unit}, {speed:,.0f} {self._unit}/s"
