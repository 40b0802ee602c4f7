"""Versions on this machine's disk: fetched once, then memory-mapped by all processes.

Each time a version is asked for, its files are verified against its manifest, and those that do not match are
fetched again. Before anything is read, the cache must be this user's alone (`encoder.user_cache`).

    models/<digest>/        a plain model folder, complete or absent
    locks/<digest>.lock     held by the process that fetches the version
    stores/<store>/v/       the manifests used on this machine, one folder for each store

The highest manifest in `stores/<store>/v/` is the highest version that this machine has used. `latest` never
goes below it: a store that offers less has lost versions, or was replaced.
"""

import hashlib
import logging
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    IntegrityError,
    NotInStore,
    StoreUnavailable,
    VersionRegression,
)
from encoder.reference import Reference, Selector
from encoder.store.cached_files import damage, lock_of, make_room, touch
from encoder.store.local import FolderObjects
from encoder.store.manifest import Manifest, encode, key_of
from encoder.store.signing.trust import Trust, Trusted
from encoder.store.store import ModelStore
from encoder.store.versions import Versions
from encoder.user_cache import cache_folder, cache_size, check_private, create_private

__all__ = ["UsedVersions", "cached_model"]

_log = logging.getLogger(__name__)

LOCK_SECONDS = 1800.0
"""How long a process waits for another that fetches the same version."""


def cached_model(
    ref: Reference, cache: Path | None = None, *, offline_ok: bool = False, trust: Trusted = None
) -> tuple[Path, Manifest]:
    """Resolve a reference and return its version's folder, fetched if this machine does not have it yet.

    The store is always asked first. If it does not answer, the cache serves a number or a digest that was
    used before.

    Args:
        ref: a reference to a store.
        cache: where to keep versions; `cache_folder()` by default.
        offline_ok: if the store does not answer for `latest`, serve the last version used on this machine.
        trust: as for `ModelStore.open`; with trust, the signature is verified before any file is read.

    Returns:
        The model folder, which is read-only by convention, and the version's manifest.

    Raises:
        NotInStore: there is no such version.
        StoreUnavailable: the store does not answer and the cache does not have the version.
        CorruptVersion: the store's bytes do not match the manifest; nothing is kept.
        BadSignature: no trusted key signed the version.
        VersionRegression: `latest` is below a version used on this machine.
        ConfigurationError: others can change the cache, or it cannot be written.
    """
    if ref.kind != "store":
        raise ConfigurationError(
            f"{ref.location} is a model folder, not a version in a store: load it directly"
        )
    root = cache or cache_folder()
    trust = Trust.of(trust)
    store = ModelStore.open(ref.location, trust=trust or ())
    used = UsedVersions(root, store.uri, trust)
    try:
        manifest = store.manifest(ref.selector)
    except StoreUnavailable:
        if ref.selector == "latest" and not offline_ok:
            raise
        found = used.find(ref, root)
        if found is None:
            raise
        return found
    used.check(ref, manifest, store)
    folder = _folder(root, manifest)
    if not _is_whole(root, folder, manifest):
        _fill(root, folder, store, manifest)
    used.remember(manifest)
    touch(folder)
    return folder, manifest


class UsedVersions:
    """The manifests of one store that this machine has used, in a local store of their own."""

    def __init__(self, root: Path, uri: str, trust: Trusted = None) -> None:
        self._folder = root / "stores" / hashlib.sha256(uri.encode()).hexdigest()[:32]
        check_private(self._folder, root)
        self._objects = FolderObjects(self._folder)
        name = uri.rpartition("/")[2]
        self._versions = Versions(self._objects, Trust.of(trust or ()), name)
        self._uri = uri

    def highest(self) -> Manifest | None:
        """The highest version used; with trust, only those count that a trusted key signed."""
        return next((manifest for manifest, _ in self._versions.newest_first()), None)

    def find(self, ref: Reference, root: Path) -> tuple[Path, Manifest] | None:
        """The version that a selector means, if it is complete on this disk."""
        manifest = self.highest() if ref.selector == "latest" else self._find(ref.selector)
        if manifest is None:
            return None
        folder = _folder(root, manifest)
        if not _is_whole(root, folder, manifest):
            return None
        touch(folder)
        return folder, manifest

    def check(self, ref: Reference, manifest: Manifest, store: ModelStore) -> None:
        """Refuse a `latest` below the highest version used, and a number whose manifest has changed.

        With trust, also refuse a newer `latest` if the version used is another one in the store now.
        """
        highest = self.highest()
        replaced = f"remove {self._folder} if the store was replaced"
        if ref.selector == "latest" and highest and manifest.version < highest.version:
            raise VersionRegression(
                f"the latest version of {self._uri} is {manifest.version}, but {highest.version} was used "
                f"here: pin {self._uri}@{manifest.version}, or publish a rollback, or {replaced}"
            )
        before = self._find(manifest.version)
        if before is not None and before != manifest:
            raise CorruptVersion(
                f"version {manifest.version} of {self._uri} is not the one that was used here before, "
                f"and a version never changes: publish a new one, or {replaced}"
            )
        is_newer = ref.selector == "latest" and before is None
        if is_newer and highest and not self._continues(manifest, highest, store):
            raise CorruptVersion(
                f"version {manifest.version} of {self._uri} does not follow version {highest.version} as it "
                f"was used here, so history was rewritten: publish a new one, or {replaced}"
            )

    def _continues(self, manifest: Manifest, highest: Manifest, store: ModelStore) -> bool:
        """Whether the store still holds the highest version used, or a version that can follow it."""
        if self._versions.trust is None:
            return True
        try:
            return store.manifest(highest.version) == highest
        except (IntegrityError, NotInStore):  # pruned, or removed
            follows = manifest.previous == hashlib.sha256(encode(highest)).hexdigest()
            return follows or manifest.version > highest.version + 1

    def remember(self, manifest: Manifest) -> None:
        """Keep a version's manifest, if the cache is writable."""
        if self._uri.startswith("memory:") or self._find(manifest.version) is not None:
            return
        try:
            self._objects.overwrite(key_of(manifest.version), encode(manifest))
            self._objects.create("uri", self._uri.encode())
        except (ConfigurationError, StoreUnavailable):
            return

    def forget(self, manifest: Manifest) -> None:
        """Take back that a version was used, since it cannot be loaded."""
        with suppress(ConfigurationError, StoreUnavailable):
            self._objects.delete(key_of(manifest.version))

    def _find(self, selector: Selector) -> Manifest | None:
        try:
            return self._versions.find(selector)
        except IntegrityError:
            return None


def _folder(root: Path, manifest: Manifest) -> Path:
    return root / "models" / manifest.digest.removeprefix("sha256:")


def _is_whole(root: Path, folder: Path, manifest: Manifest) -> bool:
    """Whether a version's files are there as its manifest says; nothing is read if others can change them."""
    check_private(folder, root)
    problem = damage(folder, manifest)
    if problem and folder.exists():
        _log.warning("%s: the version is fetched again", problem)
    return problem is None


def _fill(root: Path, folder: Path, store: ModelStore, manifest: Manifest) -> None:
    """Fetch a version into the cache; other processes that need it wait."""
    try:
        create_private(root)
        (root / "models").mkdir(exist_ok=True)
        (root / "locks").mkdir(exist_ok=True)
        limit = cache_size() - manifest.size
        with FileLock(lock_of(root, folder), timeout=LOCK_SECONDS):
            if damage(folder, manifest) is None:
                return
            _clear(folder)
            for old in make_room(root, limit):
                _log.info("%s left the cache, which is full: see MILLSTREAM_CACHE_SIZE", old)
            store.fetch(manifest, folder)
    except Timeout:
        raise StoreUnavailable(
            f"another process has been fetching version {manifest.version} of {store.uri} into {root} for "
            f"{LOCK_SECONDS:.0f} s: stop it if it hangs, or try again"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the cache {root} ({error.strerror or error}): set MILLSTREAM_CACHE to another "
            "folder"
        ) from error


def _clear(folder: Path) -> None:
    """Remove a damaged folder and leftovers of killed processes; mapped files stay mapped."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    if folder.exists():
        aside = folder.with_name(f".{folder.name}-damaged")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
