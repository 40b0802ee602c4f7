"""Versions on this machine's disk: fetched once, shared by all processes, memory-mapped by them.

    models/<digest>/        a plain model folder, whole or not there at all
    locks/<digest>.lock     held by the process that fetches it
    stores/<store>/v/       the manifests that were used here, one folder for each store's URI

The highest manifest in `stores/<store>/v/` is the highest version that this machine has used. `latest` never
goes below it by itself: a store that offers less has lost versions, or is not the store that it was.
"""

import hashlib
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    NotInStore,
    StoreUnavailable,
    VersionRegression,
)
from encoder.reference import Reference
from encoder.store.local import FolderObjects
from encoder.store.manifest import Manifest, encode, key_of
from encoder.store.store import ModelStore
from encoder.user_cache import cache_folder

__all__ = ["cached_model"]

LOCK_SECONDS = 1800.0
"""How long a process waits for another one that fetches the same version."""


def cached_model(
    ref: Reference, cache: Path | None = None, *, offline_ok: bool = False
) -> tuple[Path, Manifest]:
    """Give the folder of the version that a REF means, fetching it if it is not on this machine.

    The store is always asked first. When it does not answer, a number or a digest that was used here before
    is served from the cache.

    Args:
        ref: a reference to a store.
        cache: where to keep versions; `cache_folder()` by default.
        offline_ok: serve the last version that was used here when `latest` cannot be asked for.

    Returns:
        The model folder, which must not be changed, and the version's manifest.

    Raises:
        NotInStore: there is no such version.
        StoreUnavailable: the store does not answer and the cache does not help.
        CorruptVersion: what the store gives does not match the manifest; nothing is kept of it.
        VersionRegression: `latest` is below a version that was used here before.
    """
    if ref.kind != "store":
        raise ConfigurationError(
            f"{ref.location} is a model folder, not a version in a store: use it as it is"
        )
    root = cache or cache_folder()
    store = ModelStore.open(ref.location)
    used = _Used(root, store.uri)
    try:
        manifest = store.manifest(ref.selector)
    except StoreUnavailable:
        if ref.selector == "latest" and not offline_ok:
            raise
        found = used.find(ref, root)
        if found is None:
            raise
        return found
    used.check(ref, manifest)
    folder = _folder(root, manifest)
    if _damage(folder, manifest):
        _fill(root, folder, store, manifest)
    used.remember(manifest)
    return folder, manifest


class _Used:
    """The manifests of one store that were used on this machine, kept as a store of their own."""

    def __init__(self, root: Path, uri: str) -> None:
        self._folder = root / "stores" / hashlib.sha256(uri.encode()).hexdigest()[:32]
        self._objects = FolderObjects(self._folder)
        self._manifests = ModelStore(self._objects)
        self._uri = uri

    def find(self, ref: Reference, root: Path) -> tuple[Path, Manifest] | None:
        """The version that a selector means among those that are whole on this disk, or None."""
        try:
            manifest = self._manifests.manifest(ref.selector)
        except NotInStore:
            return None
        folder = _folder(root, manifest)
        return None if _damage(folder, manifest) else (folder, manifest)

    def check(self, ref: Reference, manifest: Manifest) -> None:
        """Refuse a `latest` below what was used here, and a number that means something else now."""
        highest = max(self._manifests.versions(), default=0)
        anew = f"remove {self._folder} if the store was made anew"
        if ref.selector == "latest" and manifest.version < highest:
            raise VersionRegression(
                f"the latest version of {self._uri} is {manifest.version}, but {highest} was used here: "
                f"pin {self._uri}@{manifest.version}, or publish a rollback, or {anew}"
            )
        try:
            before = self._manifests.manifest(manifest.version)
        except NotInStore:
            return
        if before != manifest:
            raise CorruptVersion(
                f"version {manifest.version} of {self._uri} is not the one that was used here before, "
                f"and a version never changes: publish a new one, or {anew}"
            )

    def remember(self, manifest: Manifest) -> None:
        """Keep a version's manifest; a cache that cannot be written is left as it is."""
        if self._uri.startswith("memory:") or self._objects.stat(key_of(manifest.version)):
            return
        try:
            self._objects.create(key_of(manifest.version), encode(manifest))
            self._objects.create("uri", self._uri.encode())
        except (ConfigurationError, StoreUnavailable):
            return


def _folder(root: Path, manifest: Manifest) -> Path:
    return root / "models" / manifest.digest.removeprefix("sha256:")


def _damage(folder: Path, manifest: Manifest) -> bool:
    """Whether a file is missing or has another size; the sha256 was checked when it was fetched."""
    for file in manifest.files:
        try:
            if (folder / file.path).stat().st_size != file.size:
                return True
        except OSError:
            return True
    return False


def _fill(root: Path, folder: Path, store: ModelStore, manifest: Manifest) -> None:
    """Fetch a version into the cache; one process does, the others wait for it."""
    try:
        (root / "models").mkdir(parents=True, exist_ok=True)
        (root / "locks").mkdir(exist_ok=True)
        with FileLock(root / "locks" / f"{folder.name}.lock", timeout=LOCK_SECONDS):
            if not _damage(folder, manifest):
                return
            _clear(folder)
            store.fetch(manifest, folder)
    except Timeout:
        raise StoreUnavailable(
            f"another process fetches version {manifest.version} of {store.uri} into {root} for too long"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the cache {root} ({error.strerror or error}): set MILLSTREAM_CACHE to another"
        ) from error


def _clear(folder: Path) -> None:
    """Remove a damaged folder and what killed processes left; whoever has mapped its files keeps them."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    if folder.exists():
        aside = folder.with_name(f".{folder.name}-damaged")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
