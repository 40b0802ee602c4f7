"""The folder of the model that a REF names, and what to call it."""

from pathlib import Path

from encoder.reference import parse

__all__ = ["named_folder"]


def named_folder(ref: str) -> tuple[Path, str]:
    """The folder of a REF, fetched and checked, and what to call it.

    Raises:
        ModelFormatError: the folder is not a static model.
        NotInStore: the store has no such version.
        CorruptVersion: the store's bytes do not match the manifest.
    """
    from encoder.model import load_model
    from encoder.store.cache import model_folder

    folder, manifest = model_folder(parse(ref))
    if manifest is not None:
        return folder, f"{manifest.name} version {manifest.version} ({manifest.digest})"
    load_model(folder)
    return folder, folder.absolute().name
