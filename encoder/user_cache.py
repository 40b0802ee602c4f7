"""Where this user's files are kept that can be made again: versions of models, compiled kernels."""

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The cache of this user: `MILLSTREAM_CACHE`, or `millstream` in the system's folder for caches."""
    override = os.environ.get("MILLSTREAM_CACHE")
    return Path(override).expanduser() if override else user_cache_path("millstream", appauthor=False)
