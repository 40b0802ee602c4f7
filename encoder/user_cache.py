"""The folder for files of this user that can be created again: model versions and compiled kernels."""

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """`MILLSTREAM_CACHE`, or else `millstream` in the system's cache folder."""
    override = os.environ.get("MILLSTREAM_CACHE")
    return Path(override).expanduser() if override else user_cache_path("millstream", appauthor=False)
