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
        super().__init__(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, unit: str, total: float) -> Iterator[Callable[[float, int], None]]:
        """Show progress.

        Args:
            unit: what is counted.
            total: the amount of work, in any unit.

        Yields:
            A function to call with the work done so far (in total's unit) and the number of units done in
            this run.
        """
        begin = time.monotonic()
        if not self.is_terminal:
            yield self._lines(unit, total, begin)
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
                bar.update(task, completed=done, rate=_rate(count, unit, begin))

            yield tell

    def _lines(self, unit: str, total: float, begin: float) -> Callable[[float, int], None]:
        last = begin

        def tell(done: float, count: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY:
                last = time.monotonic()
                self.print(f"{100 * done / max(total, 1):3.0f} %  {_rate(count, unit, begin)}")

        return tell


def _rate(count: int, unit: str, begin: float) -> str:
    return f"{count:,} {unit}, {count / max(time.monotonic() - begin, 1e-9):,.0f} {unit}/s"
