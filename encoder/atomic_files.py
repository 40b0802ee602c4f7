"""Files and folders that appear whole or not at all, and survive a power cut."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from encoder.errors import ConfigurationError, OutputConflict

__all__ = ["check_new_folder", "new_file", "new_folder", "sync_folder", "write_synced"]


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Write a new file and wait until it is on disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to; when the block ends it replaces `target`, after an error it is removed.

    A symbolic link stays one. A killed process leaves a file `.<target's name>-<random>` beside `target`,
    which itself stays as it was.

    Raises:
        ConfigurationError: the process may not create it.
    """
    target = target.resolve()
    staging = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        file = staging.open("xb")
    except OSError as error:
        raise ConfigurationError(f"cannot write {target}: {error.strerror}; name another file") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, staging)
        staging.replace(target)
        sync_folder(target.parent)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_new_folder(target: Path) -> None:
    """Check that `new_folder` can create a folder, before there is work to lose.

    Raises:
        OutputConflict: it exists and is not an empty folder.
        ConfigurationError: the process may not create it.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputConflict(f"{target} already exists: name a new folder, or remove this one")
    parent = next(folder for folder in target.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"cannot create {target}: {parent} is not writable; name another folder")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends it becomes `target`, after an error it is removed.

    A killed process leaves a folder `.<target's name>-<random>` beside `target`, never a part of `target`.

    Raises:
        OutputConflict: the target exists and is not an empty folder.
        ConfigurationError: the process may not create it.
    """
    check_new_folder(target)
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp makes private folders
        for parent, _, names in os.walk(staging):
            for name in names:
                _sync_file(Path(parent) / name)
            sync_folder(Path(parent))
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise OutputConflict(
                f"another process created {target} in the meantime: name a new folder"
            ) from error
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
