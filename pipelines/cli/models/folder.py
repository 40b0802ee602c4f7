"""The folder of the model that a REF names, fetched and checked."""

from pathlib import Path

from encoder.reference import parse

__all__ = ["model_folder"]


def model_folder(ref: str) -> tuple[Path, str]:
    """The folder of a REF, and what to call it.

    Raises:
        ModelFormatError: the folder is not a static model.
        NotInStore: the store has no such version.
        CorruptVersion: the store's bytes do not match the manifest.
    """
    from encoder.model import load_model

    reference = parse(ref)
    if reference.kind == "folder":
        folder = Path(reference.location)
        load_model(folder)
        return folder, folder.absolute().name
    from encoder.store.cache import cached_model

    folder, manifest = cached_model(reference)
    return folder, f"{manifest.name} version {manifest.version} ({manifest.digest})"
