"""Where a fitted head goes: into a new version of the model's store, or into a new folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from encoder.errors import ConfigurationError, InvalidReference, OutputConflict
from encoder.head_files import check_head_name, head_path, pack_head
from encoder.model import StaticModel, load_model
from encoder.reference import Reference, parse
from pipelines.commands.new_model import REPORT_FILE

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
        packed = pack_head(head, self.model.vectors_digest())
        files = {head_path(self.name): packed, **self._notes(head)}
        if self.output is None:
            return self._publish(files, head, quality)
        from encoder.store.files import new_folder, write_synced  # noqa: PLC0415 - loaded only where it is used

        with new_folder(self.output) as staging:
            shutil.copytree(self.folder, staging, dirs_exist_ok=True)
            for path, data in files.items():
                (staging / path).parent.mkdir(exist_ok=True)
                (staging / path).unlink(missing_ok=True)
                write_synced(staging / path, data)
        return {"ref": str(self.output)}

    def _notes(self, head: "Head") -> dict[str, bytes]:
        """The model's report and its card, as far as it has them, with all heads in them."""
        from distill.head_notes import card_with_heads, page_with_heads  # noqa: PLC0415 - brings jinja2

        heads = [*(one for one in self.model.heads if one.name != self.name), head]
        notes = {REPORT_FILE: page_with_heads, "README.md": card_with_heads}
        there = {path: self.folder / path for path in notes if (self.folder / path).is_file()}
        return {path: notes[path](file.read_text("utf-8"), heads).encode() for path, file in there.items()}

    def _publish(self, files: dict[str, bytes], head: "Head", quality: dict[str, Any]) -> dict[str, Any]:
        from encoder.store.store import ModelStore  # noqa: PLC0415 - loaded only where it is used

        assert self.manifest is not None  # noqa: S101 - `find` has seen to it
        store = ModelStore.open(self.reference.location)
        before = self.manifest
        manifest = store.extend(
            before,
            files,
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
