"""A model version as a small value, which travels to workers in place of the weights."""

import hashlib
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from encoder import Encoder
from encoder.errors import CorruptVersion
from encoder.model import load_model
from encoder.reference import parse
from encoder.store.manifest import Manifest
from encoder.store.newest import load_version
from encoder.store.signing.trust import Trust, Trusted
from encoder.trial import try_model

__all__ = ["ModelVersion", "folder_digest", "warmed"]


@dataclass(frozen=True)
class ModelVersion:
    """One exact model; a Beam side input.

    Attributes:
        ref: a reference to exactly these bytes: a pinned version, or a folder.
        name: the model's name.
        version: its number in the store, or None for a folder.
        digest: `sha256:` of its files.
        dim: the number of dimensions.
        trust: who may sign it, or None.
    """

    ref: str
    name: str
    version: int | None
    digest: str
    dim: int
    trust: Trust | None = None

    @classmethod
    def resolve(cls, ref: str, *, trust: Trusted = None) -> "ModelVersion":
        """Resolve a REF to the version that it means now, and load it, so that a broken model shows here.

        A version that is new on this machine is first tried in a process of its own.

        Args:
            ref: a REF of `encoder.reference`; the latest version is the newest one that can be used.
            trust: the public keys that may sign versions, as for `ModelStore.open`.

        Raises:
            MillstreamError: the model cannot be found or loaded.
        """
        reference = parse(ref)
        if reference.kind == "folder":
            folder = Path(reference.location).absolute()
            encoder = warmed(Encoder(load_model(folder), threads=1))
            return _keep(cls(str(folder), folder.name, None, folder_digest(folder), encoder.dim), encoder)
        trust = Trust.of(trust)

        def load(folder: Path, manifest: Manifest) -> ModelVersion:
            encoder = warmed(Encoder(load_model(folder), manifest, threads=1))
            pinned = f"{reference.location}@{manifest.version}"
            version = cls(pinned, manifest.name, manifest.version, manifest.digest, encoder.dim, trust)
            return _keep(version, encoder)

        return load_version(reference, load, trust=trust or (), trial=try_model)

    @cached_property
    def label(self) -> str:
        """The value of the column `model_version`: `minilm@7`, or `minilm@sha256:…` for a folder."""
        return f"{self.name}@{self.version or self.digest[:19]}"

    def load(self) -> Encoder:
        """The encoder, one a process, with one thread: a job runs many workers.

        Raises:
            CorruptVersion: the bytes have changed since the job started.
        """
        with _loading:
            if self not in _loaded:
                _keep(self, _load(self))
            return _loaded[self]


_loading = threading.RLock()  # a worker's threads start together: one loads for all
_loaded: dict[ModelVersion, Encoder] = {}
_MOST_LOADED = 2


def _keep(version: ModelVersion, encoder: Encoder) -> ModelVersion:
    """Keep the encoder of a version for this process; the version."""
    with _loading:
        _loaded[version] = encoder
        for old in list(_loaded)[:-_MOST_LOADED]:
            del _loaded[old]
    return version


def _load(version: ModelVersion) -> Encoder:
    if version.version is None and folder_digest(Path(version.ref)) != version.digest:
        raise CorruptVersion(
            f"the model in {version.ref} changed while the job ran: publish it and use that version"
        )
    encoder = Encoder.load(version.ref, threads=1, trust=version.trust)
    if encoder.manifest is not None and encoder.manifest.digest != version.digest:
        raise CorruptVersion(
            f"{version.ref} has changed since the job started: check who writes to the store"
        )
    return warmed(encoder)


def warmed(encoder: Encoder) -> Encoder:
    """The encoder, once its kernels are compiled, so that the first batch need not wait for that."""
    encoder.encode(["compile the kernels now, not in the first batch"])
    return encoder


def folder_digest(folder: Path) -> str:
    """`sha256:` over the names and contents of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256:{total.hexdigest()}"
