"""Objects in a local folder; writes survive a power cut."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from encoder.atomic_files import sync_folder, write_synced
from encoder.errors import ConfigurationError, NotInStore, StoreUnavailable, UnsafeStore
from encoder.store.port import ObjectInfo

__all__ = ["NO_LINKS", "FolderObjects"]

_CHUNK = 4 << 20
_TRIES = 5
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""The error numbers of a file system without hard links."""


class FolderObjects:
    """Objects as files in a folder, which the first write creates.

    A file is written and synced in `_staging/` and then linked to its name, which fails if the name exists.
    """

    def __init__(self, root: str | os.PathLike[str], uri: str | None = None) -> None:
        self.root = Path(root)
        self.uri = uri or self.root.absolute().as_uri()

    def create(self, key: str, data: bytes | memoryview) -> bool:
        with self._translated(key), self._staged(data) as staged:
            target = self._folder_of(key) / Path(key).name
            try:
                os.link(staged, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in NO_LINKS:
                    raise UnsafeStore(
                        f"{self.uri} is on a file system without hard links: use another folder"
                    ) from error
                raise
            sync_folder(target.parent)
            return True

    def overwrite(self, key: str, data: bytes | memoryview) -> None:
        with self._translated(key):
            for tries_left in reversed(range(_TRIES)):
                try:
                    self._replace(key, data)
                except FileNotFoundError:  # prune removed the staged file: write it again
                    if not tries_left:
                        raise
                else:
                    return

    def _replace(self, key: str, data: bytes | memoryview) -> None:
        with self._staged(data) as staged:
            target = self._folder_of(key) / Path(key).name
            staged.replace(target)
            sync_folder(target.parent)

    def read(self, key: str, at_most: int | None = None) -> bytes:
        with self._translated(key), self._open(key) as file:
            return file.read(-1 if at_most is None else at_most)

    def read_end(self, key: str, n_bytes: int) -> bytes:
        with self._translated(key), self._open(key) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - n_bytes))
            return file.read()

    def stream(self, key: str) -> Iterator[bytes]:
        with self._translated(key), self._open(key) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def stat(self, key: str) -> ObjectInfo | None:
        with self._translated(key):
            try:
                status = (self.root / key).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            if not S_ISREG(status.st_mode):
                return None
            return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def scan(self, folder: str, after: str = "") -> list[ObjectInfo]:
        with self._translated(folder):
            try:
                prefix = f"{folder}/" if folder else ""
                keys = sorted(prefix + path.name for path in (self.root / folder).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [info for key in keys if key > after and (info := self.stat(key))]  # unless just deleted

    def folders(self) -> list[str]:
        with self._translated(""):
            try:
                return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
            except FileNotFoundError:
                return []

    def delete(self, key: str) -> None:
        with self._translated(key):
            (self.root / key).unlink(missing_ok=True)

    def _open(self, key: str) -> BinaryIO:
        path = self.root / key
        if path.exists() and not path.is_file():  # reading a pipe or a device would never end
            raise NotInStore(f"{self.uri}/{key} is not a file")
        return path.open("rb")

    def _folder_of(self, key: str) -> Path:
        folder = (self.root / key).parent
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        return folder

    @contextmanager
    def _staged(self, data: bytes | memoryview) -> Iterator[Path]:
        staged = self._folder_of("_staging/file") / uuid.uuid4().hex
        try:
            write_synced(staged, data)
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotInStore(f"{self.uri} has no {key}") from error
        except OSError as error:
            where = f"{self.uri}/{key}"
            if error.errno in _REFUSED:
                raise ConfigurationError(f"no permission for {where}: {error.strerror}") from error
            raise StoreUnavailable(f"cannot access {where}: {error.strerror or error}") from error
