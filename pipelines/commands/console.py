"""Progress and messages on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["ErrorConsole", "Stages"]

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


class Stages:
    """The progress of work in several stages, each known by what it counts: one bar after the other."""

    def __init__(self, console: ErrorConsole) -> None:
        self._console = console
        self._stack = ExitStack()
        self._unit: str | None = None
        self._before = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def tell(self, unit: str, done: int, total: int, *, count: int | None = None) -> None:
        """Show how far a stage is.

        Args:
            unit: what it counts; another one than before begins the next stage.
            done: the work done so far.
            total: all work of the stage.
            count: the number of units done, where the work is measured in something else.
        """
        number = done if count is None else count
        if unit != self._unit:
            self._stack.close()
            self._tell = self._stack.enter_context(self._console.progress(unit, total))
            self._unit, self._before = (
                unit,
                number,
            )  # the clock starts now, and earlier runs may have done some
        self._tell(done, number - self._before)

    def print(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)


def _rate(count: int, unit: str, begin: float) -> str:
    return f"{count:,} {unit}, {count / max(time.monotonic() - begin, 1e-9):,.0f} {unit}/s"
