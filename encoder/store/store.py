"""`ModelStore` reads and publishes the versions of one model."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins
from msgspec.structs import replace

from encoder.atomic_files import new_folder
from encoder.errors import ConfigurationError, CorruptVersion, NotInStore, PublishedMeanwhile
from encoder.model import load_model, packed_tables
from encoder.reference import Selector
from encoder.store.blobs import check_blob, claim_blob, read_blob
from encoder.store.manifest import File, Manifest, check_name, digest_of
from encoder.store.objects import Objects, open_objects
from encoder.store.prune import Pruned, prune
from encoder.store.publish import commit, prove_create_only, signed, store_bytes, upload
from encoder.store.versions import Versions

if TYPE_CHECKING:
    from encoder.store.signing.port import Signer

__all__ = ["DEFAULT_GRACE", "ModelStore", "list_models"]

DEFAULT_GRACE = timedelta(days=7)
"""How long prune waits before it deletes: longer than any publication or download takes."""


def _now() -> datetime:
    return datetime.now(UTC)


def _check_json(**about: Any) -> None:
    """Check what a manifest says of a model: JSON has no NaN and no infinity.

    Raises:
        ConfigurationError: a value is not JSON.
    """
    for name, value in about.items():
        try:
            json.dumps(to_builtins(value), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"`{name}` of a version must be JSON: {error}") from error


def _expiry(created_at: datetime, expires: timedelta) -> datetime:
    try:
        expires_at = created_at + expires
    except OverflowError:
        expires_at = created_at
    if expires_at <= created_at:
        raise ConfigurationError(f"`expires` must be positive and end before the year 10000: {expires}")
    return expires_at


def _new_id() -> str:
    return uuid.uuid4().hex


class ModelStore:
    """The versions of one model under one root.

    Every method raises `StoreUnavailable` if the storage does not answer and `ConfigurationError` if it
    refuses the credentials.

    Args:
        objects: the root, from `open_objects`.
        clock: returns the current time.
        new_id: returns a unique write_id.
    """

    def __init__(
        self, objects: Objects, *, clock: Callable[[], datetime] = _now, new_id: Callable[[], str] = _new_id
    ) -> None:
        self._objects = objects
        self._versions = Versions(objects)
        self._clock = clock
        self._new_id = new_id

    @classmethod
    def open(cls, uri: str) -> "ModelStore":
        """Open a model's root by its URI or local path, without reading anything.

        Raises:
            InvalidReference: the URI is invalid.
        """
        return cls(open_objects(uri))

    @property
    def uri(self) -> str:
        """The URI of the model's root."""
        return self._objects.uri

    def versions(self, after: int = 0) -> list[int]:
        """The version numbers above `after`, ascending."""
        return self._versions.numbers(after)

    def refused(self) -> dict[int, str]:
        """The numbers that are taken by something that is no version, and why it is none."""
        return self._versions.refused()

    def manifest(self, selector: Selector = "latest") -> Manifest:
        """The manifest of the version that a selector means.

        `latest` and a digest skip what is not a manifest.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: the selector is a number whose manifest is damaged, or all manifests are.
        """
        manifest = self._versions.find(selector)
        if manifest is not None:
            return manifest
        numbers = self.versions()
        if not numbers:
            raise NotInStore(f"there is no model at {self.uri}: check the name, or publish one")
        if selector == "latest":
            reasons = "; ".join(self.refused().values())
            raise CorruptVersion(f"{self.uri} has no version that can be used: {reasons}")
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
        signer: "Signer | Sequence[Signer] | None" = None,
        expires: timedelta | None = None,
    ) -> Manifest:
        """Publish a model folder as the next version; readers see all of it or nothing.

        Args:
            folder: a static model. Files whose names begin with a dot are skipped; the compiled tokenizer is
                added if it is missing or does not match `tokenizer.json`.
            name: the model's name; by default the last part of the root's URI.
            teacher: the model that it was distilled from.
            parameters: the parameters of its distillation; any JSON.
            quality: its measured quality; any JSON.
            signer: the key that signs the version, or several keys.
            expires: the time after which readers report that no newer version has come.

        Raises:
            ModelFormatError: the folder is not a static model.
            UnsafeStore: the storage has no create-only writes, so a version could be overwritten.
        """
        model = load_model(folder)
        name = check_name(name or self.uri.rpartition("/")[2])
        _check_json(teacher=teacher, parameters=parameters, quality=quality)
        prove_create_only(self._objects)
        files = upload(self._objects, Path(folder), packed_tables(model))
        draft = self._draft(
            name=name,
            files=files,
            teacher=teacher,
            parameters=parameters or {},
            quality=quality or {},
            expires=expires,
        )
        return self._commit(draft, signer)

    def extend(
        self,
        base: Manifest,
        files: Mapping[str, bytes],
        *,
        parameters: dict[str, Any] | None = None,
        quality: dict[str, Any] | None = None,
        next_only: bool = False,
        signer: "Signer | Sequence[Signer] | None" = None,
        expires: timedelta | None = None,
    ) -> Manifest:
        """Publish a version's files with additional files, as the next version.

        Args:
            base: the version.
            files: the bytes of additional files by path; they override those of the base.
            parameters: added to the base's parameters, together with `based_on`, the base's number.
            quality: added to the base's quality.
            next_only: fail unless the base is the latest version, so that no other version is undone.
            signer: as for `publish`.
            expires: as for `publish`.

        Raises:
            PublishedMeanwhile: with `next_only`, the base is not the latest version; nothing is published.
            CorruptVersion: one of the base's blobs is damaged or missing; nothing is published.
            UnsafeStore: the storage has no create-only writes, so a version could be overwritten.
        """
        _check_json(parameters=parameters, quality=quality)
        prove_create_only(self._objects)
        kept = [file for file in base.files if file.path not in files]
        for file in kept:
            claim_blob(self._objects, file, self._bytes)
        made = [store_bytes(self._objects, data, path) for path, data in files.items()]
        draft = self._draft(
            name=base.name,
            files=sorted([*kept, *made], key=lambda file: file.path),
            teacher=base.teacher,
            parameters={**base.parameters, "based_on": base.version, **(parameters or {})},
            quality={**base.quality, **(quality or {})},
            expires=expires,
        )
        return self._commit(draft, signer, only_after=base.version if next_only else None)

    def rollback(
        self,
        version: int,
        *,
        signer: "Signer | Sequence[Signer] | None" = None,
        expires: timedelta | None = None,
    ) -> Manifest:
        """Publish an old version's files again, as the next version.

        Args:
            version: the old version.
            signer: as for `publish`.
            expires: as for `publish`; the old version's expiry does not count.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: its manifest or one of its blobs is damaged or missing; nothing is published.
        """
        old = self.manifest(version)
        prove_create_only(self._objects)
        for file in old.files:
            claim_blob(self._objects, file, self._bytes)
        kept = {name: getattr(old, name) for name in ("name", "files", "teacher", "parameters", "quality")}
        draft = self._draft(**kept, rolls_back_to=version, expires=expires)
        return self._commit(draft, signer)

    def _draft(
        self,
        *,
        files: Sequence[File],
        expires: timedelta | None,
        rolls_back_to: int | None = None,
        **fields: Any,
    ) -> Manifest:
        created_at = self._clock().astimezone(UTC)
        draft = Manifest(
            format=1 if expires is None else 2,
            version=1,
            digest=digest_of(files),
            files=tuple(files),
            created_at=created_at,
            expires_at=None if expires is None else _expiry(created_at, expires),
            write_id=self._new_id(),
            rolls_back_to=rolls_back_to,
            created_by=f"millstream {installed_version('millstream')}",
            **fields,
        )
        _check_json(teacher=draft.teacher, parameters=draft.parameters, quality=draft.quality)
        return draft

    def _commit(
        self, draft: Manifest, signer: "Signer | Sequence[Signer] | None", only_after: int | None = None
    ) -> Manifest:
        """Publish a draft under the next number, which its signature binds."""
        signers = signer if isinstance(signer, Sequence) else [signer] if signer else []

        def complete(manifest: Manifest) -> Manifest:
            if not signers and manifest.expires_at is None:
                return manifest  # format 1, which older readers know
            before = next(self._versions.newest_first(below=manifest.version), None)
            return signed(replace(manifest, format=2, previous=before and before[1]), signers)

        highest = max(self.versions(), default=0)
        if only_after is not None and highest != only_after:
            raise PublishedMeanwhile(
                f"version {highest} of {self.uri} was published after {only_after}: nothing was published, "
                "try again"
            )
        return commit(self._objects, draft, highest, next_only=only_after is not None, complete=complete)

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

        Args:
            keep: remove the versions before the last `keep`; None removes no version.
            grace: how long ago a version must have been replaced, or a blob become unused.
            now: the current time; the clock's by default.
            dry_run: change nothing and return what would be removed.

        Raises:
            ConfigurationError: `keep` is below 1, or `grace` is negative.
            CorruptVersion: a manifest cannot be read, so the blobs it needs are unknown.
        """
        return prune(self._objects, keep=keep, grace=grace, now=now or self._clock(), dry_run=dry_run)

    def _bytes(self, file: File) -> bytes:
        data = bytearray()
        problem = read_blob(self._objects, file, data.extend)
        if problem:
            raise CorruptVersion(f"{self.uri} cannot publish these files again: {problem}")
        return bytes(data)


def list_models(uri: str) -> dict[str, ModelStore]:
    """The models in a store by name: its folders that hold at least one version."""
    objects = open_objects(uri)
    stores = {name: ModelStore.open(f"{objects.uri}/{name}") for name in objects.folders()}
    return {name: store for name, store in stores.items() if store.versions()}
