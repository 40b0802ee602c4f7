"""The terminal of the dashboard: taken over and restored, with the log kept for the dashboard."""

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live

from encoder.errors import ConfigurationError
from pipelines.worker.telemetry.dashboard import Dashboard

__all__ = ["LogLines", "logged_beside", "need_terminal", "on_screen", "restore_and_exit"]

_KEPT = 100
_EVERY = 2.0  # redraws a second
_LEAST_WIDTH, _LEAST_HEIGHT = 60, 20
_LEAVE = "\x1b[?1049l\x1b[?25h"  # back to the main screen, with its cursor


class LogLines(logging.Handler):
    """Keeps the newest log lines for the dashboard."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_KEPT)
        self.warnings: deque[str] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; warnings are also kept for the end."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        line = f"{at:%H:%M:%S} {record.levelname.lower()} {record.getMessage()}".replace("\n", " ")
        self.lines.append(line)
        if record.levelno >= logging.WARNING:
            self.warnings.append(line)


def need_terminal(flag: str) -> Console:
    """The terminal on standard output.

    Args:
        flag: the option that needs it, for the error.

    Raises:
        ConfigurationError: standard output is no terminal, or one that is too small.
    """
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        raise ConfigurationError(
            f"{flag} needs a terminal, which standard output is not: leave {flag} out, and read the log or "
            "the metrics of --listen HOST:PORT"
        )
    if console.width < _LEAST_WIDTH or console.height < _LEAST_HEIGHT:
        raise ConfigurationError(
            f"{flag} needs a terminal of {_LEAST_WIDTH} by {_LEAST_HEIGHT} characters, and this one has "
            f"{console.width} by {console.height}: enlarge it, or leave {flag} out"
        )
    return console


@contextmanager
def logged_beside() -> Iterator[LogLines]:
    """Keep log lines for the dashboard during the block.

    Lines are not written to a terminal that shows the dashboard; its warnings are printed at the end. If
    standard error goes elsewhere (`2> worker.log`), all lines are written there too.
    """
    log, root = LogLines(), logging.getLogger()
    before = root.handlers[:]
    if sys.stderr.isatty():
        root.handlers.clear()
    root.addHandler(log)
    try:
        yield log
    finally:
        root.handlers[:] = before
        if sys.stderr.isatty():
            for line in log.warnings:
                sys.stderr.write(f"{line}\n")


def on_screen(console: Console, dashboard: Dashboard) -> Live:
    """A context in which the terminal shows only the dashboard."""
    return Live(dashboard, console=console, screen=True, refresh_per_second=_EVERY, redirect_stderr=False)


def restore_and_exit(code: int) -> None:
    """Restore the terminal and end the process at once."""
    sys.stdout.write(_LEAVE)
    sys.stdout.flush()
    os._exit(code)
