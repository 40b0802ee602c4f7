"""The manifest of a version: its fields and its JSON. No I/O."""

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any

import msgspec

from encoder.errors import CorruptVersion, InvalidReference

__all__ = [
    "FORMATS",
    "HIGHEST_NUMBER",
    "LARGEST_MANIFEST",
    "File",
    "Manifest",
    "check_name",
    "decode",
    "digest_of",
    "encode",
    "key_of",
    "number_of",
]

FORMATS = (1, 2, 3)
"""The formats of manifests that this version reads; a new one comes when an older reader would misread it.

    1  every version without a signature and an expiry; every Millstream reads it
    2  format 1 with `previous`, `expires_at` and `signatures`; an older Millstream asks for an upgrade
    3  format 2 with `masks`, without which an older Millstream would embed other texts

A manifest is written in the lowest format that holds it, and a format that was ever written is read forever.
"""

LARGEST_MANIFEST = 4 << 20
"""bytes; a larger object is no manifest and is not read."""

HIGHEST_NUMBER = 99_999_999
"""The highest number that a version can have."""

_KEY = re.compile(r"(?:^|/)v/([0-9]{8})\.json\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")

_Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Number = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_NUMBER)]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a version: its path in the model folder, its sha256 (hex), its size in bytes."""

    path: str
    sha256: _Hex
    size: Annotated[int, msgspec.Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One version of a model.

    Attributes:
        format: one of `FORMATS`.
        name: the model's name, the last part of its URI.
        version: the version's number, from 1.
        digest: `sha256:` and the hash of the files (`digest_of`); equal files have equal digests.
        files: the files, sorted by path.
        teacher: the model that it was distilled from, or None.
        parameters: the parameters of its distillation; any JSON.
        quality: its measured quality; any JSON.
        created_at: when it was published, UTC.
        write_id: an id that is unique to this publication.
        rolls_back_to: the version that a rollback published again, or None.
        created_by: the program that published it.
        previous: the sha256 (hex) of the manifest of the version before, or None for the first one.
        expires_at: when a reader must have seen a newer version, or None.
        signatures: Sigstore bundles, one for each key that signed the version.
        masks: what is masked in texts before they are embedded, as `Masks.to_json` writes it.
    """

    format: int
    name: Annotated[str, msgspec.Meta(min_length=1)]
    version: _Number
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    files: Annotated[tuple[File, ...], msgspec.Meta(min_length=1)]
    teacher: str | None
    parameters: dict[str, Any]
    quality: dict[str, Any]
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    write_id: Annotated[str, msgspec.Meta(min_length=1)]
    rolls_back_to: _Number | None
    created_by: str
    previous: _Hex | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    signatures: tuple[dict[str, Any], ...] = ()
    masks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.size for file in self.files)


class _Format(msgspec.Struct):
    """The only field that every format has."""

    format: int


def digest_of(files: Iterable[File]) -> str:
    """`sha256:` and the sha256 of the files' canonical JSON: sorted by path and key, no spaces, UTF-8."""
    entries = [msgspec.to_builtins(file) for file in sorted(files, key=lambda file: file.path)]
    canonical = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def key_of(number: int) -> str:
    """The key of a version's manifest, such as `v/00000007.json`."""
    return f"v/{number:08d}.json"


def number_of(key: str) -> int | None:
    """The version number in a manifest's key or URI, or None for any other key."""
    match = _KEY.search(key)
    return int(match[1]) if match else None


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON, which people can read in the store."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode(data: bytes, key: str) -> Manifest:
    """Parse a manifest and check everything that needs no blobs.

    Args:
        data: the manifest's bytes.
        key: its key or its URI, which ends in `v/<number>.json`; for error messages.

    Raises:
        CorruptVersion: the bytes are not a manifest of this format, or contradict themselves or the key.
    """
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found not in FORMATS:
            raise CorruptVersion(
                f"{key} has format {found}, this Millstream reads {FORMATS[0]} to {FORMATS[-1]}: "
                "upgrade Millstream"
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptVersion(f"{key} is not a manifest: {error}") from error
    problem = _contradiction(manifest, number_of(key))
    if problem:
        raise CorruptVersion(f"{key} is not a valid manifest: {problem}")
    return manifest


def _contradiction(manifest: Manifest, number: int | None) -> str | None:
    """What is wrong with a manifest whose types are right, or None."""
    if manifest.version != number:
        return f"it says version {manifest.version}"
    if manifest.format == 1 and (manifest.previous or manifest.expires_at or manifest.signatures):
        return "it has fields of format 2"
    if manifest.format < 3 and manifest.masks:
        return "it has fields of format 3"
    paths = [file.path for file in manifest.files]
    bad = next((path for path in paths if not _is_plain(path)), None)
    if bad is not None:
        return f"the path {bad!r} leaves the model folder"
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    if len(set(paths)) < len(paths) or folders.intersection(paths):
        return "two files have the same path"
    if manifest.digest != digest_of(manifest.files):
        return "its digest does not match its files"
    return None


def _is_plain(path: str) -> bool:
    """Whether a path stays inside its folder on every system."""
    parts = path.split("/")
    return path.isprintable() and not any(
        part in ("", ".", "..") or "\\" in part or ":" in part for part in parts
    )


def check_name(name: str) -> str:
    """Return a model's name if URIs and references can contain it.

    Raises:
        InvalidReference: they cannot.
    """
    if not _NAME.match(name):
        raise InvalidReference(
            f"{name!r} is not a model name: use letters, digits, '.', '_' and '-', such as minilm-fraud"
        )
    return name
