"""Where the files for browsers are: `millstream.js`, and the page that uses it."""

from pathlib import Path

__all__ = ["browser_folder"]


def browser_folder() -> Path:
    """Return the folder of the files for browsers, in an installed package or in the repository."""
    package = Path(__file__).parent
    installed = package / "browser"
    return installed if installed.is_dir() else package.parent / "deploy" / "browser"
