"""Blobs: the files of versions, named by the sha256 of their bytes."""

import hashlib
from collections.abc import Callable

from encoder.errors import CorruptVersion, NotInStore, StoreUnavailable
from encoder.store.manifest import File
from encoder.store.objects import Objects

__all__ = ["blob_key", "check_blob", "claim_blob", "mark_key", "read_blob"]

_TRIES = 3


def blob_key(sha256: str) -> str:
    """The key of a blob."""
    return f"blobs/{sha256}"


def mark_key(sha256: str) -> str:
    """The key of the mark by which prune remembers that no version names a blob."""
    return f"marks/{sha256}"


def claim_blob(objects: Objects, file: File, content: Callable[[File], bytes]) -> None:
    """Make sure that a blob exists and that prune keeps it for at least the grace period.

    Args:
        objects: the model's root.
        file: the file; its path does not matter.
        content: returns the file's bytes; called only if they must be written.

    Raises:
        CorruptVersion: the store holds a blob of another size under this name.
        StoreUnavailable: the storage does not answer.
    """
    key, mark = blob_key(file.sha256), mark_key(file.sha256)
    for _ in range(_TRIES):
        info = objects.stat(key)
        if info is None:
            try:
                if objects.create(key, content(file)):
                    return
            except StoreUnavailable:
                if objects.stat(key) is None:  # otherwise only the reply was lost
                    raise
            continue
        if info.size != file.size:
            raise CorruptVersion(
                f"{objects.uri}/{key} has {info.size} bytes, not {file.size}: remove it and publish again"
            )
        if objects.stat(mark) is not None:
            objects.delete(mark)  # before the write: prune deletes no blob without a mark
            objects.overwrite(key, content(file))
        return
    raise StoreUnavailable(
        f"{objects.uri}/{key} keeps disappearing: does a prune with too short a grace run?"
    )


def read_blob(objects: Objects, file: File, write: Callable[[bytes], object]) -> str | None:
    """Read a blob chunk by chunk.

    Args:
        objects: the model's root.
        file: the blob's entry in a manifest.
        write: called with each chunk, for at most `file.size` bytes in total.

    Returns:
        What is wrong with the blob, or None if size and sha256 match.
    """
    where, size, hasher = f"{objects.uri}/{blob_key(file.sha256)}", 0, hashlib.sha256()
    try:
        for chunk in objects.stream(blob_key(file.sha256)):
            size += len(chunk)
            if size > file.size:
                return f"{file.path}: {where} has more than its {file.size} bytes"
            hasher.update(chunk)
            write(chunk)
    except NotInStore:
        return f"{file.path}: {where} is missing"
    if size < file.size:
        return f"{file.path}: {where} has {size} bytes, not {file.size}"
    if hasher.hexdigest() != file.sha256:
        return f"{file.path}: {where} does not have its sha256"
    return None


def check_blob(objects: Objects, file: File) -> str | None:
    """Read a whole blob; what is wrong with it, or None."""
    return read_blob(objects, file, lambda _: None)
