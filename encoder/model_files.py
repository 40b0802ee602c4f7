"""The files of a model folder: plain files inside it, of a plausible size.

Reading a FIFO waits forever, a device never ends, and a link may lead to another user's files. So these are
refused before anything is opened.
"""

import json
import stat
from pathlib import Path
from typing import Any

from encoder.errors import ModelFormatError

__all__ = ["SETTINGS_LIMIT", "plain_file", "read_json", "read_text"]

SETTINGS_LIMIT = 1 << 20
"""The most bytes of a file of settings."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def plain_file(path: Path, root: Path) -> Path:
    """Return `path` if it is a plain file in the model folder `root`.

    A link may lead to another file in the folder, or to the blobs of the Hugging Face cache that the folder
    lies in.

    Raises:
        ModelFormatError: it is not.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        real, inside = path.resolve(strict=True), root.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise ModelFormatError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if kind != stat.S_IFREG:
        raise ModelFormatError(f"{path} is {_KINDS.get(kind, 'something else')}: it must be a plain file")
    blobs = [inside.parents[1] / "blobs"] if inside.parent.name == "snapshots" else []
    if not any(real.is_relative_to(place) for place in (inside, *blobs)):
        raise ModelFormatError(f"{path} is a link out of the model folder: copy the file to its place")
    return path


def read_text(path: Path, root: Path, limit: int) -> str:
    """The text of a file in the model folder `root`.

    Raises:
        ModelFormatError: it is not a plain file, not UTF-8, or larger than `limit` bytes.
    """
    try:
        with plain_file(path, root).open("rb") as file:
            data = file.read(limit + 1)
        text = data.decode()
    except OSError as error:
        raise ModelFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path} is not UTF-8: {error}") from error
    if len(data) > limit:
        raise ModelFormatError(f"{path} is larger than {limit:,} bytes, the limit for such files")
    return text


def read_json(path: Path, root: Path) -> Any:
    """The JSON in a file of settings.

    Raises:
        ModelFormatError: `read_text` fails, or the text is not JSON.
    """
    try:
        return json.loads(read_text(path, root, SETTINGS_LIMIT))
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not JSON: {error}") from error
