"""The ends of log files, which a failed test prints."""

from pathlib import Path

__all__ = ["tail"]

_CHARACTERS = 4000


def tail(path: str | Path) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        return Path(path).read_text(errors="replace")[-_CHARACTERS:]
    except FileNotFoundError:
        return ""
