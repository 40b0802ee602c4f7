"""What lies in the cache: whether a version's files are whole, and which versions leave when it is full.

A process holds a shared lock on each file that it has mapped (`encoder.arrays.mmap_arrays`). A version with
a locked file is in use, by whatever process, and stays.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from encoder.store.cache.tried import forget_trials
from encoder.store.manifest import File, Manifest

__all__ = ["damage", "files_in", "lock_of", "make_room", "model_folders", "touch"]

GRACE_SECONDS = 600.0
"""How long a version stays after it was asked for: whoever asked may not have mapped it yet."""


def model_folders(root: Path) -> list[Path]:
    """The folders of versions in a cache, complete ones only."""
    return sorted(path for path in (root / "models").glob("[!.]*") if path.is_dir())


def lock_of(root: Path, folder: Path) -> Path:
    """The file that is locked by whoever fetches or removes a version."""
    return root / "locks" / f"{folder.name}.lock"


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything below a folder that is no folder: its path in the folder, and its path."""
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*files, *folders)):
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(folder).as_posix(), path


def damage(folder: Path, manifest: Manifest) -> str | None:
    """What is wrong with a version's folder, or None; the sha256 of each file is computed."""
    found = dict(files_in(folder))
    for name in found.keys() - {file.path for file in manifest.files}:
        return f"{folder / name} is not a file of the version"
    for file in manifest.files:
        if file.path not in found:
            return f"{folder / file.path} is missing"
        if problem := _difference(found[file.path], file):
            return f"{folder / file.path} {problem}"
    return None


def _difference(path: Path, file: File) -> str | None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file"
        if status.st_size != file.size:
            return f"has {status.st_size} bytes, not {file.size}"
        with path.open("rb") as opened:
            same = hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if same else "does not have its sha256"


def touch(folder: Path) -> None:
    """Note that a version is used now; a read-only cache notes nothing."""
    with suppress(OSError):
        os.utime(folder)


def make_room(root: Path, limit: int) -> list[Path]:
    """Remove the least recently used versions until all others have at most `limit` bytes.

    Returns:
        The folders of the versions that were removed.
    """
    sizes = {folder: _size(folder) for folder in model_folders(root)}
    total, removed = sum(sizes.values()), []
    for folder in sorted(sizes, key=_last_used):
        if total <= limit:
            break
        if _remove(root, folder):
            removed.append(folder)
            total -= sizes[folder]
    return removed


def _size(folder: Path) -> int:
    total = 0
    for _, path in files_in(folder):
        with suppress(FileNotFoundError):  # another process has just removed it
            total += path.lstat().st_size
    return total


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(root: Path, folder: Path) -> bool:
    """Remove a version unless it is in use; whether it is gone. What is mapped meanwhile stays mapped."""
    if time.time() - _last_used(folder) < GRACE_SECONDS:
        return False
    try:
        with FileLock(lock_of(root, folder), timeout=0):
            if any(_is_locked(path) for _, path in files_in(folder)):
                return False
            aside = folder.with_name(f".{folder.name}-old")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            forget_trials(folder, root)
    except (Timeout, OSError):  # another process fetches or removes it
        return not folder.exists()
    return True


def _is_locked(path: Path) -> bool:
    """Whether a process has a file mapped."""
    with path.open("r+b") as file:  # NFS asks for write access
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
