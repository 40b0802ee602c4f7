"""Publishing: write the blobs, then create the manifest under the next number, which is the commit."""

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from encoder.errors import (
    ConfigurationError,
    MillstreamError,
    NotInStore,
    PublishedMeanwhile,
    StoreUnavailable,
    UnsafeStore,
)
from encoder.model_files import plain_file
from encoder.store.blobs import claim_blob
from encoder.store.manifest import HIGHEST_NUMBER, File, Manifest, encode, key_of
from encoder.store.objects import Objects
from encoder.store.signing.bundle import SIGNATURE_FILE, sign_manifest

if TYPE_CHECKING:
    from encoder.store.signing.port import Signer

__all__ = ["commit", "prove_create_only", "signed", "store_bytes", "upload"]

_RACES = 1000
"""Attempts to get a number; each one that fails is a version that somebody else published."""

_TRIES = 3
"""Attempts to write a manifest if the storage does not say whether it was written."""

_proven: set[str] = set()
_proven_lock = threading.Lock()


def prove_create_only(objects: Objects) -> None:
    """Check, once per process and root, that creating a key twice fails.

    Raises:
        UnsafeStore: the storage ignores the condition, so its versions could be overwritten.
    """
    with _proven_lock:
        if objects.uri in _proven:
            return
    key = f"_probe/{uuid.uuid4().hex}"
    try:
        objects.create(key, b"1")
        overwritten = objects.create(key, b"2")
    finally:
        _clean_up(objects, key)
    if overwritten:
        raise UnsafeStore(
            f"{objects.uri} overwrites objects despite If-None-Match, so versions could change: use S3, "
            "Google Cloud Storage, Azure, SeaweedFS, a recent MinIO, or a local folder"
        )
    with _proven_lock:
        _proven.add(objects.uri)


def _clean_up(objects: Objects, key: str) -> None:
    with suppress(MillstreamError):  # publishers may lack the right to delete; prune removes old probes
        objects.delete(key)


def upload(objects: Objects, folder: Path, made: Mapping[str, bytes] | None = None) -> list[File]:
    """Store the files of a model folder, without `model.sig` and those whose names begin with a dot.

    Args:
        objects: the model's root.
        folder: the model folder.
        made: the bytes of more files by path; they override those of the folder.

    Returns:
        The files, sorted by path.

    Raises:
        ModelFormatError: something in the folder is no plain file, or a link out of it.
    """
    made = made or {}
    paths = {path.relative_to(folder).as_posix(): plain_file(path, folder) for path in _files(folder)}
    paths.pop(SIGNATURE_FILE, None)
    return [
        store_bytes(objects, made[name] if name in made else paths[name].read_bytes(), name)
        for name in sorted({*paths, *made})
    ]


def store_bytes(objects: Objects, data: bytes, name: str) -> File:
    """Store the bytes of one file under their sha256 and return its entry for a manifest."""
    file = File(name, hashlib.sha256(data).hexdigest(), len(data))
    claim_blob(objects, file, lambda _: data)
    return file


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith("."))


def commit(
    objects: Objects,
    draft: Manifest,
    highest: int,
    *,
    next_only: bool = False,
    taken: Collection[int] = (),
    complete: Callable[[Manifest], Manifest] = lambda manifest: manifest,
) -> Manifest:
    """Create the draft's manifest under the first free number above `highest`.

    Args:
        objects: the model's root.
        draft: the manifest, with any number.
        highest: the highest existing version.
        next_only: fail if another version takes the number first.
        taken: numbers that are not tried.
        complete: adds what depends on the number, such as signatures; called for each number that is tried.

    Returns:
        The stored manifest.

    Raises:
        PublishedMeanwhile: with `next_only`, the number is taken.
        ConfigurationError: no number is left.
        StoreUnavailable: the storage does not say whether it stored the manifest.
    """
    free = (number for number in range(highest + 1, HIGHEST_NUMBER + 1) if number not in taken)
    number = highest
    for number in islice(free, 1 if next_only else _RACES):
        manifest = complete(msgspec.structs.replace(draft, version=number))
        if _create(objects, manifest):
            return manifest
    if number == highest:
        raise ConfigurationError(
            f"{objects.uri} has no number above {highest} left: remove {key_of(highest)}, which no publisher "
            "wrote, or give the keys that you trust with `trust`, so that it does not count"
        )
    if next_only:
        raise PublishedMeanwhile(
            f"version {number} of {objects.uri} was just published: nothing was done, try again"
        )
    raise StoreUnavailable(f"{_RACES} other versions of {objects.uri} were published just now: try again")


def signed(manifest: Manifest, signers: Iterable["Signer"]) -> Manifest:
    """The manifest with one signature by each of the keys, behind those of its files."""
    return msgspec.structs.replace(
        manifest,
        signatures=(*manifest.signatures, *(sign_manifest(manifest, signer) for signer in signers)),
    )


def _create(objects: Objects, manifest: Manifest) -> bool:
    """Create a manifest; whether the number is ours now, not somebody else's.

    If a reply is lost after the write, a retry finds its own manifest. So after any answer but a clear yes,
    the bytes in the store decide; the write_id makes ours unique.
    """
    key, body = key_of(manifest.version), encode(manifest)
    for _ in range(_TRIES):
        try:
            if objects.create(key, body):
                return True
        except StoreUnavailable:
            pass
        try:
            return objects.read(key) == body
        except NotInStore:
            continue
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"version {manifest.version} of {objects.uri} may or may not be published: check before you "
                f"publish again ({error})"
            ) from error
    raise StoreUnavailable(
        f"{objects.uri} does not store version {manifest.version}: nothing was published, try again"
    )
