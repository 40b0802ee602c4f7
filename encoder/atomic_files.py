"""Files and folders that appear whole or not at all, and stay after a power cut."""

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
    """Write a new file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """Give a file to write and seek in; at the end of the block it replaces `target`, after an error it goes.

    A target that is a symbolic link stays one. A process that is killed leaves `.<target's name>-<random>`
    beside the target, never a part of the target.

    Raises:
        ConfigurationError: it cannot be made there.
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
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_new_folder(target: Path) -> None:
    """See that `new_folder` can make a folder, before there is work to lose.

    Raises:
        OutputConflict: it exists and is not an empty folder.
        ConfigurationError: it cannot be made there.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputConflict(f"{target} exists already: name a new folder, or remove this one")
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"cannot make {target}: nothing can be written to {above}; name another folder"
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; at the end of the block it becomes `target`; after an error it goes.

    A process that is killed leaves `.<target's name>-<random>` beside the target, never a part of the target.

    Raises:
        OutputConflict: the target exists and is not an empty folder.
        ConfigurationError: it cannot be made there.
    """
    check_new_folder(target)
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp's folders are private
        _sync_tree(staging)
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise OutputConflict(
                f"{target} was made by somebody else meanwhile: name a new folder"
            ) from error
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))
