"""The ends of log files, which a failed test prints."""

from collections.abc import Iterable
from pathlib import Path

__all__ = ["tail", "tails"]

_CHARACTERS = 4000


def tail(path: str | Path) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        return Path(path).read_text(errors="replace")[-_CHARACTERS:]
    except FileNotFoundError:
        return ""


def tails(paths: Iterable[str | Path]) -> str:
    """The last lines of several logs, each below its path."""
    return "\n".join(f"--- {path}\n{tail(path)}" for path in paths)
