"""`ModelStore` reads and publishes the versions of one model."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
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
            json.dumps(msgspec.to_builtins(value), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"`{name}` of a version must be JSON: {error}") from error


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
        infos = self._objects.scan("v", after=key_of(after))
        return sorted(number for info in infos if (number := number_of(info.key)) is not None)

    def manifest(self, selector: Selector = "latest") -> Manifest:
        """The manifest of the version that a selector means.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: a manifest that had to be read is damaged.
        """
        if isinstance(selector, int):
            try:
                return self._read(selector)
            except NotInStore:
                pass  # the error below lists the versions
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
            folder: a static model. Files whose names begin with a dot are skipped; the compiled tokenizer is
                added if it is missing or does not match `tokenizer.json`.
            name: the model's name; by default the last part of the root's URI.
            teacher: the model that it was distilled from.
            parameters: the parameters of its distillation; any JSON.
            quality: its measured quality; any JSON.

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
            name=name, files=files, teacher=teacher, parameters=parameters or {}, quality=quality or {}
        )
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
        """Publish a version's files with additional files, as the next version.

        Args:
            base: the version.
            files: the bytes of additional files by path; they override those of the base.
            parameters: added to the base's parameters, together with `based_on`, the base's number.
            quality: added to the base's quality.
            next_only: fail unless the base is the latest version, so that no other version is undone.

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
        )
        highest = max(self.versions(), default=0)
        if next_only and highest != base.version:
            raise PublishedMeanwhile(
                f"version {highest} of {self.uri} was published after {base.version}: nothing was published, "
                "try again"
            )
        return commit(self._objects, draft, highest, next_only=next_only)

    def rollback(self, version: int) -> Manifest:
        """Publish an old version's files again, as the next version.

        Raises:
            NotInStore: there is no such version.
            CorruptVersion: its manifest or one of its blobs is damaged or missing; nothing is published.
        """
        old = self.manifest(version)
        prove_create_only(self._objects)
        for file in old.files:
            claim_blob(self._objects, file, self._bytes)
        kept = {name: getattr(old, name) for name in ("name", "files", "teacher", "parameters", "quality")}
        draft = self._draft(**kept, rolls_back_to=version)
        return commit(self._objects, draft, max(self.versions(), default=0))

    def _draft(self, *, files: Sequence[File], rolls_back_to: int | None = None, **fields: Any) -> Manifest:
        draft = Manifest(
            format=FORMAT,
            version=1,
            digest=digest_of(files),
            files=tuple(files),
            created_at=self._clock().astimezone(UTC),
            write_id=self._new_id(),
            rolls_back_to=rolls_back_to,
            created_by=f"millstream {installed_version('millstream')}",
            **fields,
        )
        _check_json(teacher=draft.teacher, parameters=draft.parameters, quality=draft.quality)
        return draft

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
