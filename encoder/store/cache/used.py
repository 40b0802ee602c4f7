"""Which versions of a store this machine has used, so that it never goes back by itself."""

import hashlib
from contextlib import suppress
from pathlib import Path

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    IntegrityError,
    NotInStore,
    StoreUnavailable,
    VersionRegression,
)
from encoder.reference import Reference, Selector
from encoder.store.local import FolderObjects
from encoder.store.manifest import Manifest, encode, key_of
from encoder.store.signing.trust import Trust, Trusted
from encoder.store.store import ModelStore
from encoder.store.versions import Versions
from encoder.user_cache import check_private

__all__ = ["UsedVersions"]


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

    def find(self, selector: Selector) -> Manifest | None:
        """The version that a selector means, of those used here."""
        return self.highest() if selector == "latest" else self._find(selector)

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
