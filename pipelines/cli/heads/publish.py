"""Deliver a fitted head: into a new version of the model, or into a new folder."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from encoder.errors import ConfigurationError, InvalidReference, PublishedMeanwhile
from encoder.heads.drift import Drift
from encoder.heads.files import check_head_name, head_path, pack_head
from encoder.masks import Masks
from encoder.model import StaticModel, config_with_masks, load_model
from encoder.reference import Reference, parse
from pipelines.cli.evaluation.quality_gate import REPORT_FILE
from pipelines.cli.signing import Signing

if TYPE_CHECKING:
    from encoder.heads.scoring import Head
    from encoder.store.manifest import Manifest

__all__ = ["HeadTarget"]

_MAX_RACES = 20
"""How often others may publish a version between our reading of the latest one and our publication."""


@dataclass(frozen=True)
class _Base:
    """A local copy of a model, and the manifest of its version; a folder has none.

    Attributes:
        reference: the version, or the folder.
        folder: the copy.
        model: the model, with the masks that it has from now on.
        manifest: of the version.
        files: the bytes of the files that these masks change, by path.
    """

    reference: Reference
    folder: Path
    model: StaticModel
    manifest: "Manifest | None"
    files: dict[str, bytes]

    @classmethod
    def open(cls, reference: Reference, masks: Masks | None = None, replaced: str = "") -> Self:
        """Open what a reference resolves to now.

        Args:
            reference: the reference.
            masks: what the model masks in texts from now on; None leaves that.
            replaced: the name of a head that may go.
        """
        from encoder.store.cache import model_folder

        folder, manifest = model_folder(reference)
        if manifest is not None:
            reference = Reference("store", reference.location, manifest.version)
        return cls._of(reference, folder.absolute(), manifest, masks, replaced)

    @classmethod
    def _of(
        cls,
        reference: Reference,
        folder: Path,
        manifest: "Manifest | None",
        masks: Masks | None,
        replaced: str,
    ) -> Self:
        model = load_model(folder)
        files = config_with_masks(model, masks)
        if masks is not None and files:
            kept = tuple(head for head in model.heads if head.name != replaced)
            model = replace(model, heads=kept).with_masks(masks)
        return cls(reference, folder, model, manifest, files)


@dataclass(frozen=True)
class HeadTarget:
    """The destination of a head.

    Attributes:
        name: the name of the head.
        base: the model that the head is fitted to.
        output: the folder to write; None to publish.
        replaces: whether the head may replace one of the same name.
        follows: whether to publish on top of the latest version, which may be newer than `base` by then.
        signing: how the new version is signed.
        masks: what the model masks in texts from now on; None leaves that.
        changes: whether the head is made from the one of this name, which nobody else may change meanwhile.
    """

    name: str
    base: _Base
    output: Path | None
    replaces: bool
    follows: bool
    signing: Signing
    masks: Masks | None = None
    changes: bool = False

    @classmethod
    def find(
        cls,
        ref: str,
        name: str,
        *,
        publish: bool,
        output: Path | None,
        replaces: bool,
        signing: Signing | None = None,
        masks: Masks | None = None,
        changes: bool = False,
    ) -> Self:
        """Check the destination before the work begins.

        Raises:
            ConfigurationError: the name is invalid or taken, or is not there to be changed, no destination is
                given, or the model has other heads, which were fitted to texts with other masks.
            OutputConflict: the output folder exists.
            UnsafeStore: the store does not protect versions from being overwritten.
            MillstreamError: the model cannot be loaded.
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
        if output is not None:
            from encoder.atomic_files import check_new_folder

            check_new_folder(output)
        base = _Base.open(reference, masks, name if replaces else "")
        follows = reference.selector == "latest"
        target = cls(name, base, output, replaces or changes, follows, signing or Signing(), masks, changes)
        target._check_name(target.base)
        if publish:
            from encoder.store.store import ModelStore

            ModelStore.open(reference.location).check_signer(target.signing.signers)
            _prove_create_only(reference.location)
        return target

    @property
    def model(self) -> StaticModel:
        """The model that the head is fitted to."""
        return self.base.model

    @property
    def head(self) -> "Head | None":
        """The head of this name that the model has."""
        return _head_of(self.base.model, self.name)

    def deliver(self, head: "Head", quality: dict[str, Any]) -> dict[str, Any]:
        """Publish the version or write the folder, and return the outcome as JSON.

        Raises:
            PublishedMeanwhile: a version with other vectors was published in the meantime.
            ConfigurationError: a version with a head of this name was published in the meantime.
        """
        if self.output is None:
            return self._publish(head, quality)
        from encoder.atomic_files import new_folder, write_synced

        with new_folder(self.output) as staging:
            shutil.copytree(self.base.folder, staging, dirs_exist_ok=True)
            for path, data in _files(self.base, head).items():
                (staging / path).parent.mkdir(exist_ok=True)
                (staging / path).unlink(missing_ok=True)
                write_synced(staging / path, data)
        return {"ref": str(self.output)}

    def _check_name(self, base: _Base) -> None:
        there = _head_of(base.model, self.name) is not None
        if self.changes and self.masks is not None:
            raise ConfigurationError("`mask` changes all vectors: fit the head again, without `add`")
        if self.changes and not there:
            raise ConfigurationError(f"{base.reference} has no head {self.name!r} to change: fit it first")
        if not self.replaces and there:
            raise ConfigurationError(
                f"{base.reference} already has a head {self.name!r}: give another `name`, or `replace`"
            )

    def _publish(self, head: "Head", quality: dict[str, Any]) -> dict[str, Any]:
        if not self.follows:
            return self._extend(self.base, head, quality, next_only=False)
        for _ in range(_MAX_RACES):
            base = self._latest()
            with suppress(PublishedMeanwhile):
                return self._extend(base, head, quality, next_only=True)
        return self._extend(self._latest(), head, quality, next_only=True)

    def _latest(self) -> _Base:
        """Open the latest version, which may have been published since the work began."""
        replaced = self.name if self.replaces else ""
        latest = _Base.open(Reference("store", self.base.reference.location), self.masks, replaced)
        if latest.reference == self.base.reference:
            return self.base
        if latest.model.vectors_digest() != self.base.model.vectors_digest():
            raise PublishedMeanwhile(
                f"{latest.reference} was published in the meantime, and its vectors differ from those of "
                f"{self.base.reference}. This head does not fit it, so nothing was published: fit it again "
                f"to the new version, or with --model {self.base.reference} to return to the old one"
            )
        self._check_name(latest)
        if self.changes and self._packed(latest) != self._packed(self.base):
            raise PublishedMeanwhile(
                f"{latest.reference} was published in the meantime with other cases of {self.name!r}, so "
                "nothing was published: run the same command again"
            )
        return latest

    def _packed(self, base: _Base) -> bytes:
        head = _head_of(base.model, self.name)
        assert head is not None
        return pack_head(head, "")

    def _extend(
        self, base: _Base, head: "Head", quality: dict[str, Any], *, next_only: bool
    ) -> dict[str, Any]:
        """Publish a version with one more head, and the parameters and quality of all heads."""
        from encoder.store.store import ModelStore

        assert base.manifest is not None
        before = base.manifest
        known = {**before.parameters.get("heads", {}), head.name: {"kind": head.kind, **head.metadata}}
        measured = {name: of for name, of in before.quality.get("heads", {}).items() if name != head.name}
        if quality:
            measured[head.name] = quality
        manifest = ModelStore.open(base.reference.location).extend(
            before,
            _files(base, head),
            parameters={"heads": known},
            quality={"heads": measured} if measured or "heads" in before.quality else None,
            masks=base.model.masks,
            next_only=next_only,
            **self.signing.options,
        )
        return {
            "name": manifest.name,
            "version": manifest.version,
            "digest": manifest.digest,
            "based_on": before.version,
            "ref": str(Reference("store", base.reference.location, manifest.version)),
        }


def _head_of(model: StaticModel, name: str) -> "Head | None":
    return next((head for head in model.heads if head.name == name), None)


def _files(base: _Base, head: "Head") -> dict[str, bytes]:
    """Return the head's file, and the model's report and card with all heads, if the model has them."""
    from distill.report.head_sections import card_with_heads, page_with_heads
    from distill.report.live import has_model, page_with_model

    files = dict(base.files)
    files |= {head_path(head.name): pack_head(head, base.model.vectors_digest())}
    heads = [*(one for one in base.model.heads if one.name != head.name), head]
    for path, written in ((REPORT_FILE, page_with_heads), ("README.md", card_with_heads)):
        if (base.folder / path).is_file():
            files[path] = written((base.folder / path).read_text("utf-8"), heads).encode()
    if isinstance(head, Drift):  # it scores no text, so the page has no use for it
        return files
    if REPORT_FILE in files and has_model(page := files[REPORT_FILE].decode()):
        path = head_path(head.name)
        files[REPORT_FILE] = page_with_model(page, {path: files[path]}).encode()
    return files


def _prove_create_only(uri: str) -> None:
    from encoder.store.objects import open_objects
    from encoder.store.publish import prove_create_only

    prove_create_only(open_objects(uri))
