"""Where a fitted head goes: into a new version of the model's store, or into a new folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from encoder.errors import ConfigurationError, InvalidReference, OutputConflict
from encoder.head_files import check_head_name, head_path, pack_head
from encoder.model import StaticModel, load_model
from encoder.reference import Reference, parse

if TYPE_CHECKING:
    from encoder.heads import Head
    from encoder.store.manifest import Manifest

__all__ = ["HeadTarget"]


@dataclass(frozen=True)
class HeadTarget:
    """A model, and where it goes with one more head.

    Attributes:
        name: of the head.
        reference: of the model.
        folder: of the model on this machine.
        model: the model.
        manifest: of its version, or None.
        output: the folder to write, or None to publish.
    """

    name: str
    reference: Reference
    folder: Path
    model: StaticModel
    manifest: "Manifest | None"
    output: Path | None

    @classmethod
    def find(cls, ref: str, name: str, *, publish: bool, output: Path | None, replace: bool) -> Self:
        """Check everything that can be wrong, before work begins.

        Raises:
            ConfigurationError: the name cannot be a head's or is taken, or it is not clear where to.
            OutputConflict: the output folder is there.
            MillstreamError: as `Encoder.load`.
        """
        check_head_name(name)
        if publish == (output is not None):
            raise ConfigurationError(
                "where should the model with the head go? Give --publish or --output FOLDER"
            )
        reference = parse(ref)
        if publish and reference.kind == "folder":
            raise InvalidReference(
                f"{ref} is a folder, not a model in a store: give --output, then `millstream models publish`"
            )
        if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise OutputConflict(f"{output} is not empty: name a new folder for the model, or remove it")
        folder, manifest = _local(reference)
        model = load_model(folder)
        if not replace and name in (head.name for head in model.heads):
            raise ConfigurationError(f"{ref} has a head {name!r} already: give another --name, or --replace")
        if manifest is not None:
            reference = Reference("store", reference.location, manifest.version)
        return cls(name, reference, folder, model, manifest, output)

    def deliver(self, head: "Head", quality: dict[str, Any]) -> dict[str, Any]:
        """Publish the version or write the folder; what was made, as JSON."""
        path, data = head_path(self.name), pack_head(head, self.model.vectors_digest())
        if self.output is None:
            return self._publish(path, data, head, quality)
        from encoder.store.files import new_folder, write_synced  # noqa: PLC0415 - loaded only where it is used

        with new_folder(self.output) as staging:
            shutil.copytree(self.folder, staging, dirs_exist_ok=True)
            (staging / path).parent.mkdir(exist_ok=True)
            (staging / path).unlink(missing_ok=True)
            write_synced(staging / path, data)
        return {"ref": str(self.output)}

    def _publish(self, path: str, data: bytes, head: "Head", quality: dict[str, Any]) -> dict[str, Any]:
        from encoder.store.store import ModelStore  # noqa: PLC0415 - loaded only where it is used

        assert self.manifest is not None  # noqa: S101 - `find` has seen to it
        store = ModelStore.open(self.reference.location)
        before = self.manifest
        manifest = store.extend(
            before,
            {path: data},
            parameters={
                "heads": {**before.parameters.get("heads", {}), self.name: {"kind": head.kind, **head.facts}}
            },
            quality={"heads": {**before.quality.get("heads", {}), self.name: quality}} if quality else None,
        )
        return {
            "name": manifest.name,
            "version": manifest.version,
            "digest": manifest.digest,
            "based_on": before.version,
            "ref": str(Reference("store", self.reference.location, manifest.version)),
        }


def _local(reference: Reference) -> "tuple[Path, Manifest | None]":
    if reference.kind == "folder":
        return Path(reference.location).absolute(), None
    from encoder.store.cache import cached_model  # noqa: PLC0415 - a folder needs no object store

    return cached_model(reference)
