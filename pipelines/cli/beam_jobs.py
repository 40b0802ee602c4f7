"""What the commands that run Beam jobs share."""

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

__all__ = ["damage_rows", "show_own_warnings", "suppress_output"]

_SHOWN = 20  # damaged files in a summary


def damage_rows(reasons: Sequence[str]) -> list[list[str]]:
    """Rows of a summary that name files which cannot be read to their end, and why."""
    shown = list(reasons[:_SHOWN])
    if others := reasons[_SHOWN:]:
        shown.append(f"and {len(others):,} more")
    return [["" if number else "damaged", reason] for number, reason in enumerate(shown)]


@contextmanager
def suppress_output() -> Iterator[None]:
    """Hide Beam's log and the tracebacks that it prints of errors it also raises, except with `--debug`."""
    if os.environ.get("MILLSTREAM_DEBUG"):
        yield
        return
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


@contextmanager
def show_own_warnings() -> Iterator[None]:
    """Print Millstream's own warnings, such as a refused model version, while Beam's output is suppressed."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("pipelines")
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.WARNING)
    ours.propagate = False
    try:
        yield
    finally:
        ours.propagate = True
        ours.setLevel(level)
        ours.removeHandler(handler)
