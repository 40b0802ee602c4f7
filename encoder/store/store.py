"""`ModelStore` reads and publishes the versions of one model."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.atomic_files import new_folder
from encoder.errors import CorruptVersion, NotInStore
from encoder.masks import Masks
from encoder.model import config_with_masks, load_model, packed_tables
from encoder.reference import Selector
from encoder.store.blobs import check_blob, claim_blob, read_blob
from encoder.store.manifest import File, Manifest, check_name
from encoder.store.objects import Objects, open_objects
from encoder.store.prune import Pruned, prune
from encoder.store.publish import store_bytes, upload
from encoder.store.publisher import Publisher
from encoder.store.signing.folder import check_folder_signature, file_signatures, folder_signature
from encoder.store.signing.trust import Trust, Trusted
from encoder.store.versions import Versions

if TYPE_CHECKING:
    from encoder.store.publisher import Signers

__all__ = ["DEFAULT_GRACE", "ModelStore", "list_models"]

_KEPT = ("name", "files", "teacher", "parameters", "quality", "masks")  # by a rollback

DEFAULT_GRACE = timedelta(days=7)
"""How long prune waits before it deletes: longer than any publication or download takes."""


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid.uuid4().hex


class ModelStore:
    """The versions of one model under one root.

    Every method raises `StoreUnavailable` if the storage does not answer and `ConfigurationError` if it
    refuses the credentials.

    Args:
        objects: the root, from `open_objects`.
        trust: who may sign versions; None means that versions need no signature.
        clock: returns the current time.
        new_id: returns a unique write_id.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        trust: Trust | None = None,
        clock: Callable[[], datetime] = _now,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._objects = objects
        self._versions = Versions(objects, trust)
        self._clock = clock
        self._publisher = Publisher(objects, self._versions, clock, new_id)

    @classmethod
    def open(cls, uri: str, *, trust: Trusted = None) -> "ModelStore":
        """Open a model's root by its URI or local path, without reading anything from it.

        Args:
            uri: the root.
            trust: the public keys that may sign versions, as files or PEM texts, or a `Trust`; by default
                what `MILLSTREAM_TRUST` says. With trust, what none of them signed is no version.

        Raises:
            InvalidReference: the URI is invalid.
            ConfigurationError: a key cannot be read.
        """
        return cls(open_objects(uri), trust=Trust.of(trust))

    @property
    def uri(self) -> str:
        """The URI of the model's root."""
        return self._objects.uri

    def versions(self, after: int = 0) -> list[int]:
        """The version numbers above `after`, ascending; with trust, it reads and verifies every manifest."""
        if self._versions.trust is None:
            return self._versions.numbers(after)
        return sorted(manifest.version for manifest, _ in self._versions.newest_first(after))

    def taken(self, after: int = 0) -> list[int]:
        """The numbers above `after` that are taken, ascending, by versions or by other objects."""
        return self._versions.numbers(after)

    def newest_first(self, after: int = 0) -> Iterator[Manifest]:
        """The versions above `after` that `latest` may mean, from the newest one down."""
        return self._versions.latest_first(after)

    def refused(self) -> dict[int, str]:
        """The numbers that are taken by something that is no version, and why it is none.

        Without trust, this is what is not a manifest. With trust, it is also what no trusted key signed.
        """
        return self._versions.refused()

    def skipped(self) -> dict[int, str]:
        """The part of `refused` that this store's readings have met so far; it reads nothing."""
        return self._versions.skipped()

    def manifest(self, selector: Selector = "latest") -> Manifest:
        """The manifest of the version that a selector means.

        `latest` and a digest skip what is no version.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: the selector is a number whose manifest is damaged, or no version can be used.
            BadSignature: the selector is a number whose version no trusted key signed.
        """
        manifest = self._versions.find(selector)
        if manifest is not None:
            return manifest
        numbers = self._versions.numbers()
        if not numbers:
            raise NotInStore(f"there is no model at {self.uri}: check the name, or publish one")
        reasons = self.refused()
        numbers = [number for number in numbers if number not in reasons]
        if selector == "latest" or not numbers:
            raise CorruptVersion(f"{self.uri} has no version that can be used: {'; '.join(reasons.values())}")
        span = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"only {numbers[0]}"
        raise NotInStore(f"{self.uri} has no version {selector}: it has {span}")

    def publish(
        self,
        folder: str | PathLike[str],
        *,
        name: str | None = None,
        teacher: str | None = None,
        parameters: dict[str, Any] | None = None,
        quality: dict[str, Any] | None = None,
        masks: Masks | None = None,
        signer: "Signers" = None,
        expires: timedelta | None = None,
    ) -> Manifest:
        """Publish a model folder as the next version; readers see all of it or nothing.

        Args:
            folder: a static model. Files whose names begin with a dot are skipped; the compiled tokenizer is
                added if it is missing or does not match `tokenizer.json`. If `model.sig` signs the folder's
                files, it is kept, and nothing is added.
            name: the model's name; by default the last part of the root's URI.
            teacher: the model that it was distilled from.
            parameters: the parameters of its distillation; any JSON.
            quality: its measured quality; any JSON.
            masks: what the version masks in texts, in place of what the folder says; None leaves that.
            signer: the key that signs the version, or several keys.
            expires: the time after which readers report that no newer version has come.

        Returns:
            The manifest of the new version.

        Raises:
            ModelFormatError: the folder is not a static model.
            UnsafeStore: the storage has no create-only writes, so a version could be overwritten.
            ConfigurationError: the store is read with trust, and no trusted key signs the version; or
                `model.sig` signs other files; or the model has heads, and `masks` are not its own.
        """
        model = load_model(folder)
        made = config_with_masks(model, masks)
        model = model if masks is None else model.with_masks(masks)
        name = check_name(name or self.uri.rpartition("/")[2])
        self._publisher.check(signer, teacher=teacher, parameters=parameters, quality=quality)
        kept = folder_signature(Path(folder))
        files = upload(self._objects, Path(folder), made if kept else packed_tables(model) | made)
        if kept:
            check_folder_signature(Path(folder), kept, files)
        return self._publisher.publish(
            signer,
            name=name,
            files=files,
            masks=model.masks.to_json(),
            teacher=teacher,
            parameters=parameters or {},
            quality=quality or {},
            expires=expires,
            signatures=(kept,) if kept else (),
        )

    def extend(
        self,
        base: Manifest,
        files: Mapping[str, bytes],
        *,
        parameters: dict[str, Any] | None = None,
        quality: dict[str, Any] | None = None,
        masks: Masks | None = None,
        next_only: bool = False,
        signer: "Signers" = None,
        expires: timedelta | None = None,
    ) -> Manifest:
        """Publish a version's files with additional files, as the next version.

        Args:
            base: the version.
            files: the bytes of additional files by path; they override those of the base.
            parameters: added to the base's parameters, together with `based_on`, the base's number.
            quality: added to the base's quality.
            masks: those of the `config.json` in `files`; None if they are the base's.
            next_only: fail unless the base is the latest version, so that no other version is undone.
            signer: as for `publish`.
            expires: as for `publish`.

        Returns:
            The manifest of the new version.

        Raises:
            PublishedMeanwhile: with `next_only`, the base is not the latest version; nothing is published.
            CorruptVersion: one of the base's blobs is damaged or missing; nothing is published.
            UnsafeStore: the storage has no create-only writes, so a version could be overwritten.
            ConfigurationError: the store is read with trust, and no trusted key signs the version.
        """
        self._publisher.check(signer, parameters=parameters, quality=quality)
        kept = [file for file in base.files if file.path not in files]
        for file in kept:
            claim_blob(self._objects, file, self._bytes)
        made = [store_bytes(self._objects, data, path) for path, data in files.items()]
        return self._publisher.publish(
            signer,
            only_after=base.version if next_only else None,
            name=base.name,
            files=sorted([*kept, *made], key=lambda file: file.path),
            masks=base.masks if masks is None else masks.to_json(),
            teacher=base.teacher,
            parameters={**base.parameters, "based_on": base.version, **(parameters or {})},
            quality={**base.quality, **(quality or {})},
            expires=expires,
            signatures=() if files else file_signatures(base),
        )

    def rollback(
        self,
        version: int,
        *,
        signer: "Signers" = None,
        expires: timedelta | None = None,
    ) -> Manifest:
        """Publish an old version's files again, as the next version.

        Args:
            version: the old version.
            signer: as for `publish`.
            expires: as for `publish`; the old version's expiry does not count.

        Returns:
            The manifest of the new version.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: its manifest or one of its blobs is damaged or missing; nothing is published.
        """
        old = self.manifest(version)
        self._publisher.check(signer)
        for file in old.files:
            claim_blob(self._objects, file, self._bytes)
        kept = {name: getattr(old, name) for name in _KEPT}
        signatures = file_signatures(old)
        return self._publisher.publish(
            signer, **kept, rolls_back_to=version, expires=expires, signatures=signatures
        )

    def check_signer(self, signer: "Signers") -> None:
        """Check that this store's trust would accept a version that is signed so.

        Raises:
            ConfigurationError: it would not.
        """
        self._publisher.check_signer(signer)

    def fetch(self, manifest: Manifest, folder: str | PathLike[str]) -> Path:
        """Download a version into a new folder and verify it; the folder appears whole or not at all.

        Returns:
            The folder, a model2vec model.

        Raises:
            CorruptVersion: a blob is missing or does not match the manifest.
            OutputConflict: the folder exists and is not empty.
        """
        with new_folder(Path(folder)) as staging:
            for file in manifest.files:
                path = staging / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as out:
                    problem = read_blob(self._objects, file, out.write)
                if problem:
                    raise CorruptVersion(f"version {manifest.version} of {self.uri} is damaged: {problem}")
        return Path(folder)

    def verify(self, manifest: Manifest) -> list[str]:
        """Read and hash every blob of a version; one line for each problem."""
        return [problem for file in manifest.files if (problem := check_blob(self._objects, file))]

    def prune(
        self,
        *,
        keep: int | None = None,
        grace: timedelta = DEFAULT_GRACE,
        now: datetime | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete old versions and blobs that no version needs, by the rules of `encoder.store.prune`.

        With trust, what is no version stays, and does not count among the versions to keep.

        Args:
            keep: remove the versions before the last `keep`; None removes no version.
            grace: how long ago a version must have been replaced, or a blob become unused.
            now: the current time; the clock's by default.
            dry_run: change nothing and return what would be removed.

        Raises:
            ConfigurationError: `keep` is below 1, or `grace` is negative.
            CorruptVersion: a manifest cannot be read, so the blobs it needs are unknown.
        """
        return prune(
            self._objects, self._versions, keep=keep, grace=grace, now=now or self._clock(), dry_run=dry_run
        )

    def _bytes(self, file: File) -> bytes:
        data = bytearray()
        problem = read_blob(self._objects, file, data.extend)
        if problem:
            raise CorruptVersion(f"{self.uri} cannot publish these files again: {problem}")
        return bytes(data)


def list_models(uri: str, *, trust: Trusted = None) -> dict[str, ModelStore]:
    """The models in a store by name: its folders that hold versions, or what takes their numbers.

    Args:
        uri: the store.
        trust: as for `ModelStore.open`.
    """
    objects, trust = open_objects(uri), Trust.of(trust) or ()
    stores = {name: ModelStore.open(f"{objects.uri}/{name}", trust=trust) for name in objects.folders()}
    return {name: store for name, store in stores.items() if store.taken()}
