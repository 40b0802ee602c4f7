"""The store of one model: read versions and publish them."""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from encoder.atomic_files import new_folder
from encoder.errors import ConfigurationError, CorruptVersion, NotInStore, PublishedMeanwhile
from encoder.model import load_model, packed_tables
from encoder.reference import Selector
from encoder.store.blobs import check_blob, claim_blob, read_blob
from encoder.store.manifest import (
    FORMAT,
    File,
    Manifest,
    check_name,
    decode,
    digest_of,
    key_of,
    number_of,
    select,
)
from encoder.store.objects import Objects, open_objects
from encoder.store.prune import Pruned, prune
from encoder.store.publish import commit, prove_create_only, store_bytes, upload

__all__ = ["DEFAULT_GRACE", "ModelStore", "list_models"]

DEFAULT_GRACE = timedelta(days=7)
"""How long prune waits before it deletes: longer than any publication and any download lasts."""


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid.uuid4().hex


class ModelStore:
    """The versions of one model under one root.

    Every method raises `StoreUnavailable` when the storage does not answer and `ConfigurationError` when it
    refuses the credentials.

    Args:
        objects: the root, from `open_objects`.
        clock: gives the time that manifests carry.
        new_id: gives a write_id that was never used before.
    """

    def __init__(
        self, objects: Objects, *, clock: Callable[[], datetime] = _now, new_id: Callable[[], str] = _new_id
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._new_id = new_id

    @classmethod
    def open(cls, uri: str) -> "ModelStore":
        """Open a model's root by its URI or local path; nothing is read yet.

        Raises:
            InvalidReference: the URI cannot be understood.
        """
        return cls(open_objects(uri))

    @property
    def uri(self) -> str:
        """The model's root."""
        return self._objects.uri

    def versions(self, after: int = 0) -> list[int]:
        """The numbers of the versions above `after`, rising: what a worker polls."""
        infos = self._objects.scan("v", after=key_of(after))
        return sorted(number for info in infos if (number := number_of(info.key)) is not None)

    def manifest(self, selector: Selector = "latest") -> Manifest:
        """The manifest of the version that a selector means.

        Raises:
            NotInStore: there is none.
            CorruptVersion: a manifest on the way to it is damaged.
        """
        if isinstance(selector, int):
            try:
                return self._read(selector)
            except NotInStore:
                pass  # the answer below says which versions there are
        numbers = self.versions()
        number = select(selector, numbers, self._read)
        if number is not None:
            return self._read(number)
        if not numbers:
            raise NotInStore(f"there is no model at {self.uri}: check the name, or publish one")
        span = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"only {numbers[0]}"
        raise NotInStore(f"{self.uri} has no version {selector}: it has {span}")

    def _read(self, number: int) -> Manifest:
        key = key_of(number)
        return decode(self._objects.read(key), f"{self.uri}/{key}")

    def publish(
        self,
        folder: str | PathLike[str],
        *,
        name: str | None = None,
        teacher: str | None = None,
        parameters: dict[str, Any] | None = None,
        quality: dict[str, Any] | None = None,
    ) -> Manifest:
        """Publish a model folder as the next version; readers see all of it or nothing.

        Args:
            folder: a static model; files whose names begin with a dot are left out. The compiled tokenizer
                is added if it is not there, or made of another `tokenizer.json`.
            name: the model's name; by default the last part of the root.
            teacher: what it was distilled from.
            parameters: how it was made; any JSON.
            quality: how well it does; any JSON.

        Raises:
            ModelFormatError: the folder is no static model.
            UnsafeStore: the storage cannot keep a version from being overwritten.
        """
        model = load_model(folder)
        name = check_name(name or self.uri.rpartition("/")[2])
        prove_create_only(self._objects)
        files = upload(self._objects, Path(folder), packed_tables(model))
        draft = self._draft(name, files, teacher=teacher, parameters=parameters or {}, quality=quality or {})
        return commit(self._objects, draft, max(self.versions(), default=0))

    def extend(
        self,
        base: Manifest,
        files: Mapping[str, bytes],
        *,
        parameters: dict[str, Any] | None = None,
        quality: dict[str, Any] | None = None,
        next_only: bool = False,
    ) -> Manifest:
        """Publish a version's files again with more files beside them, as the next version.

        Args:
            base: the version.
            files: more files by their paths; they stand before those of the base.
            parameters: what is different in how it was made; the base's, and the base itself as `based_on`,
                are kept beside.
            quality: more about how well it does.
            next_only: publish only while the base is the latest version, so that nobody's version is undone.

        Raises:
            PublishedMeanwhile: with `next_only`, another version came after the base; nothing is published.
            CorruptVersion: one of the base's blobs is damaged or missing; nothing is published.
            UnsafeStore: the storage cannot keep a version from being overwritten.
        """
        prove_create_only(self._objects)
        kept = [file for file in base.files if file.path not in files]
        for file in kept:
            claim_blob(self._objects, file, self._bytes)
        made = [store_bytes(self._objects, data, path) for path, data in files.items()]
        draft = self._draft(
            base.name,
            sorted([*kept, *made], key=lambda file: file.path),
            teacher=base.teacher,
            parameters={**base.parameters, "based_on": base.version, **(parameters or {})},
            quality={**base.quality, **(quality or {})},
        )
        highest = max(self.versions(), default=0)
        if next_only and highest != base.version:
            raise PublishedMeanwhile(
                f"version {highest} of {self.uri} was published after {base.version}: nothing was published, "
                "try again"
            )
        return commit(self._objects, draft, highest, next_only=next_only)

    def rollback(self, version: int) -> Manifest:
        """Publish an old version's files again, as the next version: numbers never go back.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: its manifest or one of its blobs is damaged or missing; nothing is published.
        """
        old = self.manifest(version)
        prove_create_only(self._objects)
        for file in old.files:
            claim_blob(self._objects, file, self._bytes)
        draft = self._draft(
            old.name,
            old.files,
            teacher=old.teacher,
            parameters=old.parameters,
            quality=old.quality,
            back_to=version,
        )
        return commit(self._objects, draft, max(self.versions(), default=0))

    def _draft(
        self,
        name: str,
        files: list[File] | tuple[File, ...],
        *,
        teacher: str | None,
        parameters: dict[str, Any],
        quality: dict[str, Any],
        back_to: int | None = None,
    ) -> Manifest:
        draft = Manifest(
            format=FORMAT,
            name=name,
            version=1,
            digest=digest_of(files),
            files=tuple(files),
            teacher=teacher,
            parameters=parameters,
            quality=quality,
            created_at=self._clock().astimezone(UTC),
            write_id=self._new_id(),
            rolls_back_to=back_to,
            created_by=f"millstream {installed_version('millstream')}",
        )
        try:
            msgspec.json.encode(draft)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"teacher, parameters and quality must be JSON: {error}") from error
        return draft

    def fetch(self, manifest: Manifest, folder: str | PathLike[str]) -> Path:
        """Read a version into a new folder, verified; the folder appears whole or not at all.

        Returns:
            The folder: a plain model2vec model.

        Raises:
            CorruptVersion: a blob is missing, or its size or sha256 is not the manifest's.
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
        """Read and hash every blob of a version; what is wrong, one line each, or nothing."""
        return [problem for file in manifest.files if (problem := check_blob(self._objects, file))]

    def prune(
        self,
        *,
        keep: int | None = None,
        grace: timedelta = DEFAULT_GRACE,
        now: datetime | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete what no version needs any more; see `encoder.store.prune`.

        Args:
            keep: remove the versions before the last `keep`; None removes no version.
            grace: how long a version has been replaced, and a blob unused, before it goes.
            now: the time; the clock's by default.
            dry_run: say what would go, and change nothing.

        Raises:
            ConfigurationError: `keep` is below 1: the highest number must stay, or it would be given again.
            CorruptVersion: a manifest cannot be read, so nobody knows which blobs it needs.
        """
        return prune(self._objects, keep=keep, grace=grace, now=now or self._clock(), dry_run=dry_run)

    def _bytes(self, file: File) -> bytes:
        data = bytearray()
        problem = read_blob(self._objects, file, data.extend)
        if problem:
            raise CorruptVersion(f"{self.uri} cannot publish these files again: {problem}")
        return bytes(data)


def list_models(uri: str) -> dict[str, ModelStore]:
    """The models in a store, `STORE/NAME` each, by name: the folders that hold at least one version."""
    objects = open_objects(uri)
    stores = {name: ModelStore.open(f"{objects.uri}/{name}") for name in objects.folders()}
    return {name: store for name, store in stores.items() if store.versions()}
