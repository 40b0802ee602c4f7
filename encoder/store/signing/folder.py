"""The signature that a folder brings along: `model.sig`, which the tool `model_signing` wrote.

It signs the files alone. A version keeps it beside signatures of its own, as long as its files are the same.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from encoder.errors import BadSignature, ConfigurationError
from encoder.store.manifest import File, Manifest
from encoder.store.signing.bundle import SIGNATURE_FILE, claimed_statement, resources_of

__all__ = ["check_folder_signature", "file_signatures", "folder_signature"]


def folder_signature(folder: Path) -> dict[str, Any] | None:
    """The signature of a folder's files, or None if there is none, or if it is that of a version.

    Raises:
        ConfigurationError: `model.sig` is not a signature.
    """
    path = folder / SIGNATURE_FILE
    if not path.is_file():
        return None
    try:
        bundle = json.loads(path.read_text("utf-8"))
        statement = claimed_statement(bundle)
    except (OSError, ValueError, BadSignature) as error:
        raise ConfigurationError(f"{path} is not a signature, remove it: {error}") from error
    return None if _of_version(statement) else bundle


def check_folder_signature(folder: Path, bundle: dict[str, Any], files: Iterable[File]) -> None:
    """Check that a folder's signature is for exactly the files that are published.

    Raises:
        ConfigurationError: it is not; the message names files that differ.
    """
    resources = claimed_statement(bundle)["predicate"]["resources"]
    signed = {(one["name"], one["digest"]) for one in resources}
    published = {(one["name"], one["digest"]) for one in resources_of(files)}
    differing = sorted({name for name, _ in signed ^ published})
    if differing:
        raise ConfigurationError(
            f"{folder / SIGNATURE_FILE} does not sign what would be published ({', '.join(differing[:3])}): "
            "sign the folder again, or remove the signature"
        )


def file_signatures(manifest: Manifest) -> tuple[dict[str, Any], ...]:
    """The signatures of a version that sign its files alone, and hold for a version of the same files."""
    return tuple(bundle for bundle in manifest.signatures if not _of_version(claimed_statement(bundle)))


def _of_version(statement: dict[str, Any]) -> bool:
    return "millstream" in statement["predicate"]
