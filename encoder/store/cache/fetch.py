"""Fetching a version into the cache, once for all processes of a machine.

Each time a version is asked for, its files are verified against its manifest, and those that do not match are
fetched again. Before anything is read, the cache must be this user's alone (`encoder.user_cache`).
"""

import logging
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from encoder.errors import ConfigurationError, StoreUnavailable
from encoder.reference import Reference
from encoder.store.cache.files import damage, lock_of, make_room, touch
from encoder.store.cache.used import UsedVersions
from encoder.store.manifest import Manifest
from encoder.store.signing.trust import Trust, Trusted
from encoder.store.store import ModelStore
from encoder.user_cache import cache_folder, cache_size, check_private, create_private

__all__ = ["cached_model", "model_folder"]

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
        known = used.find(ref.selector)
        if known is None or not _is_whole(root, folder := _folder(root, known), known):
            raise
        touch(folder)
        return folder, known
    used.check(ref, manifest, store)
    folder = _folder(root, manifest)
    if not _is_whole(root, folder, manifest):
        _fill(root, folder, store, manifest)
    used.remember(manifest)
    touch(folder)
    return folder, manifest


def model_folder(ref: Reference) -> tuple[Path, Manifest | None]:
    """The folder of a model that a reference names, fetched if it is a version, and the version's manifest.

    Raises:
        MillstreamError: as `cached_model`; whether a folder holds a model is not checked.
    """
    return (Path(ref.location), None) if ref.kind == "folder" else cached_model(ref)


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
