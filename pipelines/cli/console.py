"""What commands print: progress and messages on standard error; tables, sizes and times as text."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = ["ErrorConsole", "Stages", "print_table", "size_text", "span_text", "time_text", "value_text"]

_INTERVAL = 5.0  # seconds between progress lines where there is no terminal


class ErrorConsole(Console):
    """The console on standard error. If that is not a terminal, progress is a line every few seconds.

    It keeps writing there while `sys.stderr` is redirected.
    """

    def __init__(self) -> None:
        super().__init__(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, unit: str, total: float) -> Iterator[Callable[[float, int], None]]:
        """Show progress.

        Args:
            unit: the plural of what is counted, such as `records`.
            total: the amount of work, in any unit.

        Yields:
            A function to call with the work done so far, in the unit of `total`, and the number of items done
            in this run.
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

            def report(done: float, count: int) -> None:
                bar.update(task, completed=done, rate=_rate(count, unit, begin))

            yield report

    def _lines(self, unit: str, total: float, begin: float) -> Callable[[float, int], None]:
        last = begin

        def report(done: float, count: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _INTERVAL:
                last = time.monotonic()
                self.print(f"{100 * done / max(total, 1):3.0f} %  {_rate(count, unit, begin)}")

        return report


class Stages:
    """Progress of work in several stages, one bar after the other."""

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
        """Show the progress of a stage.

        Args:
            unit: the plural of what is counted; a new one starts the next stage.
            done: the work done so far.
            total: the work of the whole stage.
            count: the number of items done, if `done` measures something else.
        """
        number = done if count is None else count
        if unit != self._unit:
            self._stack.close()
            self._tell = self._stack.enter_context(self._console.progress(unit, total))
            self._unit, self._before = unit, number  # earlier runs may have done some: the clock starts now
        self._tell(done, number - self._before)

    def print(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)

    @contextmanager
    def reading(self, total: int) -> Iterator[Callable[[int, int, int], None]]:
        """Show the progress of reading records, and at the end how many were skipped.

        Args:
            total: the size of all files in bytes.

        Yields:
            A function to call with the bytes, the records and the bad rows of each chunk.
        """
        n_bytes = n_records = n_bad = 0

        def on_chunk(chunk_bytes: int, records: int, bad: int) -> None:
            nonlocal n_bytes, n_records, n_bad
            n_bytes, n_records, n_bad = n_bytes + chunk_bytes, n_records + records, n_bad + bad
            self.tell("records", n_bytes, total, count=n_records)

        yield on_chunk
        if n_bad:
            self.print(f"skipped {n_bad:,} of {n_records + n_bad:,} records, which cannot be read")


def _rate(count: int, unit: str, begin: float) -> str:
    return f"{count:,} {unit}, {count / max(time.monotonic() - begin, 1e-9):,.0f} {unit}/s"


def print_table(header: list[str] | None, rows: list[list[str]]) -> None:
    """Print rows of text in columns. Lines are never cut or wrapped, so that other programs can read them."""
    table = Table(*(header or []), box=None, show_header=header is not None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False)
    console.width = max(
        console.width, Measurement.get(console, console.options.update(width=10_000), table).maximum
    )
    console.print(table)


def size_text(size: float) -> str:
    """A size in bytes as text: powers of 1000, three digits."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def span_text(numbers: list[int]) -> str:
    """The first and the last of ascending numbers, such as `3 to 7`."""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def time_text(time: datetime) -> str:
    """A UTC time to the second, such as `2026-01-31T08:30:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def value_text(value: Any) -> str:
    """A string as it is, any other JSON value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
