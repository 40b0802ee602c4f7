"""Files of compiled code: one for each function, signature and processor, whole or not at all.

Numba keeps an index for each function beside numbered files of code, and writes the two one after the other.
Two processes that compile for different signatures at once can therefore leave an index that leads to the
code of another signature, and a process that is killed between the two leaves one that leads to the code of
an earlier source. Here there is no index: a file's name follows from what it holds, it begins with the digest
of its content, and it replaces its predecessor in one step.
"""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numba
import numba.core.serialize

from encoder.atomic_files import new_file

__all__ = ["CodeFiles", "damaged_code"]

_DIGEST_BYTES = hashlib.sha256().digest_size
_serialize: Any = numba.core.serialize  # Numba types its public names only


def damaged_code(folder: Path) -> list[Path]:
    """The files of compiled code in a folder that are truncated or damaged on their disk."""
    return [path for path in sorted(folder.glob("*.nbc")) if not _is_whole(path.read_bytes())]


def _is_whole(data: bytes) -> bool:
    return hashlib.sha256(data[_DIGEST_BYTES:]).digest() == data[:_DIGEST_BYTES]


class CodeFiles:
    """The files of one function in one folder.

    Args:
        folder: the folder; `save` does not create it.
        name: the function's name, unique among those in the folder.
        source: a digest of everything that its code is made of.
    """

    def __init__(self, folder: Path, name: str, source: str) -> None:
        self._folder = folder
        self._name = name
        self._source = hashlib.sha256(f"{numba.__version__} {source}".encode()).hexdigest()[:12]

    def load(self, key: tuple[Any, ...]) -> Any:
        """What was saved under a key, or None.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        if not _is_whole(data):
            return None
        found, code = pickle.loads(data[_DIGEST_BYTES:])  # noqa: S301 - the caller checks who can write to the folder
        return code if found == key else None

    def save(self, key: tuple[Any, ...], code: Any) -> None:
        """Save code under a key, and remove the function's files of other sources.

        Raises:
            ConfigurationError: the process may not write to the folder.
            OSError: the disk is full.
        """
        content: bytes = _serialize.dumps((key, code))
        with new_file(self._path(key)) as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask: an image's code is written by root
            file.write(hashlib.sha256(content).digest() + content)
        for other in self._folder.glob(f"{self._name}-*.nbc"):
            if not other.name.startswith(f"{self._name}-{self._source}-"):
                other.unlink(missing_ok=True)

    def _path(self, key: tuple[Any, ...]) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return self._folder / f"{self._name}-{self._source}-{digest}.nbc"
