"""Which versions in the cache have passed their trial, so that a machine tries each once.

A version's files never change. One that has passed is tried again only by another release of Millstream.
"""

from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version as installed_version
from pathlib import Path

from encoder.user_cache import check_private

__all__ = ["Trial", "forget_trials", "try_once"]

Trial = Callable[[Path], None]
"""Tries a model folder; raises an error for a version to refuse, as `encoder.trial.try_model` does."""


def try_once(folder: Path, root: Path, trial: Trial) -> None:
    """Try a version in the cache, unless it has passed before.

    Args:
        folder: the version's folder, whose files were verified.
        root: the cache.
        trial: tries the folder.

    Raises:
        MillstreamError: what `trial` raises; the version is tried again the next time.
        ConfigurationError: others can change the cache.
    """
    mark = root / "tried" / f"{folder.name}-{installed_version('millstream')}"
    check_private(mark.parent, root)
    if mark.is_file():
        return
    trial(folder)
    with suppress(OSError):  # a read-only cache: the version is tried each time
        mark.parent.mkdir(exist_ok=True)
        mark.touch()


def forget_trials(folder: Path, root: Path) -> None:
    """Forget that a version passed, since it leaves the cache."""
    for mark in (root / "tried").glob(f"{folder.name}-*"):
        with suppress(OSError):
            mark.unlink()
