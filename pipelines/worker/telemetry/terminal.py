"""The live view around a running worker: the terminal taken over and given back, the log kept beside it."""

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
_EVERY = 2.0  # drawings a second
_LEAST_WIDTH, _LEAST_HEIGHT = 60, 20
_LEAVE = "\x1b[?1049l\x1b[?25h"  # the first screen again, and its cursor


class LogLines(logging.Handler):
    """Keeps the newest log lines for the view."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_KEPT)
        self.warnings: deque[str] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; warnings are also kept for after the view."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        line = f"{at:%H:%M:%S} {record.levelname.lower()} {record.getMessage()}".replace("\n", " ")
        self.lines.append(line)
        if record.levelno >= logging.WARNING:
            self.warnings.append(line)


def need_terminal(flag: str) -> Console:
    """The terminal on standard output.

    Args:
        flag: who needs it, for the error.

    Raises:
        ConfigurationError: it is none, or one that is too small or cannot be drawn on.
    """
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        raise ConfigurationError(
            f"{flag} draws on a terminal, and standard output is none: leave {flag} out, and look at the log "
            "lines, or at --listen HOST:PORT with /metrics"
        )
    if console.width < _LEAST_WIDTH or console.height < _LEAST_HEIGHT:
        raise ConfigurationError(
            f"{flag} needs a terminal of {_LEAST_WIDTH} by {_LEAST_HEIGHT} characters, and this one has "
            f"{console.width} by {console.height}: make it larger, or leave {flag} out"
        )
    return console


@contextmanager
def logged_beside() -> Iterator[LogLines]:
    """Keep log lines for the view during the block.

    Lines that would go to the same terminal are kept alone, and the warnings among them are printed at the
    end. With standard error elsewhere (`2> worker.log`) all lines go there as well.
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


def on_screen(console: Console, view: Dashboard) -> Live:
    """A context in which a terminal shows a view and nothing else."""
    return Live(view, console=console, screen=True, refresh_per_second=_EVERY, redirect_stderr=False)


def restore_and_exit(code: int) -> None:
    """End the process at once, with its terminal as it was."""
    sys.stdout.write(_LEAVE)
    sys.stdout.flush()
    os._exit(code)
