"""What the commands print: tables, sizes, times."""

import json
from datetime import datetime
from typing import Any

__all__ = ["print_table", "size_text", "span_text", "time_text", "value_text"]


def print_table(header: list[str] | None, rows: list[list[str]]) -> None:
    """Print rows of text in columns; a line is never cut or wrapped, so that it can be piped."""
    from rich.console import Console  # noqa: PLC0415 - loaded only where it is used
    from rich.markup import escape  # noqa: PLC0415 - loaded only where it is used
    from rich.measure import Measurement  # noqa: PLC0415 - loaded only where it is used
    from rich.table import Table  # noqa: PLC0415 - loaded only where it is used

    table = Table(*(header or []), box=None, show_header=header is not None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False)
    console.width = max(
        console.width, Measurement.get(console, console.options.update(width=10_000), table).maximum
    )
    console.print(table)


def size_text(size: float) -> str:
    """A size in bytes for people: powers of 1000, three digits."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - the unit's own step
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def span_text(numbers: list[int]) -> str:
    """The first and the last of rising numbers, as `3 to 7`."""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def time_text(time: datetime) -> str:
    """A UTC time to the second, as `2026-01-31T08:30:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def value_text(value: Any) -> str:
    """A text as it is, any other JSON value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
